use std::path::Path;

use monitor::doctor::{self, Plan, Wanted};
use node::PublicKey;

use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

/// Examines this computer and its network, and says what is wrong.
pub(super) async fn doctor(
    session: &Session,
    topic: Option<Topic>,
    key: Option<PublicKey>,
    file: Option<&Path>,
) -> Result<(), Failed> {
    let wanted = topic.map(|topic| Wanted::Topic(topic.0)).or_else(|| key.map(Wanted::Key));
    let plan = Plan { config: session.asking()?, wanted, data_dir: session.data_dir().ok() };
    let examine = async { Ok(session.console.progress("examining", doctor::examine(plan)).await) };
    let report = session.or_stop(examine).await?;
    let text = report.text();
    if let Some(file) = file {
        std::fs::write(file, &text)?;
    }
    session.console.line(&report.json(), text.trim_end())?;
    match report.exit_code() {
        0 => Ok(()),
        code => Err(Failed::verdict(code)),
    }
}
