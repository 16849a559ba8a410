//! Values of the record as JSON and as words.

use chart::{
    Act, Change, History, Hlc, Invitation, InvitationState, Operation, Reading, Role, Statement, UnixMillis,
};
use serde_json::{Value, json};

/// Characters of a text that a list shows.
const SUMMARY_MAX: usize = 80;

/// The beginning of a key, enough for people to tell keys apart.
#[must_use]
pub fn short(key: &impl std::fmt::Display) -> String {
    key.to_string().chars().take(12).collect()
}

/// A time as ISO 8601 has it, in UTC, to the second.
#[must_use]
pub fn iso(time: UnixMillis) -> String {
    let seconds = time.0 / 1_000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years of 365.2425 days that begin in March, so that the leap day is the last (Howard Hinnant, "chrono-compatible
    // low-level date algorithms").
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

/// The time that an author claims.
pub(crate) fn claimed(hlc: Hlc) -> String {
    iso(hlc.millis())
}

pub(crate) const fn role_word(role: Role) -> &'static str {
    match role {
        Role::Reader => "reader",
        Role::Contributor => "contributor",
        Role::Helper => "helper",
    }
}

pub(crate) fn role_of(word: &str) -> Option<Role> {
    [Role::Reader, Role::Contributor, Role::Helper].into_iter().find(|role| role_word(*role) == word)
}

pub(crate) fn history_of(word: &str) -> Option<History> {
    match word {
        "whole" => Some(History::Whole),
        "from-now" => Some(History::FromGrant),
        _ => None,
    }
}

pub(crate) const fn change_word(change: Change) -> &'static str {
    match change {
        Change::Creation => "creation",
        Change::Amendment => "amendment",
        Change::Modification => "modification",
        Change::Retraction => "retraction",
        Change::Attestation => "attestation",
    }
}

pub(crate) const fn state_word(state: InvitationState) -> &'static str {
    match state {
        InvitationState::Open => "open",
        InvitationState::Cancelled => "cancelled",
        InvitationState::Used => "used",
        InvitationState::Taken | _ => "taken",
    }
}

/// Whether an invitation can still be redeemed, in words.
pub(crate) fn invitation_word(
    invitation: &Invitation,
    state: InvitationState,
    now: UnixMillis,
) -> &'static str {
    let over = invitation.expires <= now && state == InvitationState::Open;
    if over { "expired" } else { state_word(state) }
}

/// What an operation does, in the words of the audit.
pub(crate) fn deed(operation: &Operation) -> &'static str {
    match operation {
        Operation::Enrol(..) => "became a device of the owner",
        Operation::Remove(_) => "removed a device",
        Operation::Grant(_) => "gave access",
        Operation::Accept(_) => "accepted",
        Operation::Revoke(_) => "ended access",
        Operation::Epoch(_) => "made new keys",
        Operation::Share(_) => "shared keys",
        Operation::Erase(_) => "erased contents",
        Operation::Version(version) => match version.change {
            Change::Creation => "added an entry",
            Change::Amendment => "amended an entry",
            Change::Modification => "changed an entry",
            Change::Retraction => "retracted an entry",
            Change::Attestation => "attested an entry",
        },
        Operation::Audit(audit) => match audit.act {
            Act::Import => "imported",
            Act::Export => "exported",
            Act::Refused => "refused",
            Act::Read => "read",
            Act::ErasureDone => "erased what others asked to erase",
            Act::Backup => "made a backup",
        },
    }
}

/// Whom or what an operation is about.
pub(crate) fn about(operation: &Operation) -> Option<String> {
    Some(match operation {
        Operation::Enrol(_, certificate) => certificate.device.to_string(),
        Operation::Remove(removal) => removal.device.to_string(),
        Operation::Grant(grant) => grant.grantee.to_string(),
        Operation::Accept(grant) => grant.to_string(),
        Operation::Revoke(revocation) => revocation.author.to_string(),
        Operation::Version(version) => version.entry?.to_string(),
        Operation::Audit(audit) => audit.about?.to_string(),
        Operation::Share(share) => share.to.to_string(),
        _ => return None,
    })
}

/// A statement in a line.
pub(crate) fn summary(statement: &Statement) -> String {
    let body = &statement.body.0;
    let text = if statement.media_type.contains("json") { of_json(body) } else { None };
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SUMMARY_MAX).collect();
    if line.is_empty() {
        statement.attachments.first().map(|file| file.name.0.clone()).unwrap_or_default()
    } else {
        line
    }
}

fn of_json(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let kind = value["resourceType"].as_str()?;
    let texts = [
        "/code/text",
        "/name/0/text",
        "/medicationCodeableConcept/text",
        "/vaccineCode/text",
        "/text/status",
    ];
    let text = texts.iter().find_map(|path| value.pointer(path)?.as_str());
    Some(text.map_or_else(|| kind.to_owned(), |text| format!("{kind}: {text}")))
}

/// The name that a FHIR Patient has.
pub(crate) fn patient_name(statement: &Statement) -> Option<String> {
    let value: Value = serde_json::from_slice(&statement.body.0).ok()?;
    (value["resourceType"] == "Patient").then(|| value["name"][0]["text"].as_str().map(str::to_owned))?
}

/// A FHIR R4 Patient.
pub(crate) fn patient(name: &str, born: Option<&str>) -> String {
    let mut value = json!({"resourceType": "Patient", "name": [{"text": name}]});
    if let Some(born) = born {
        value["birthDate"] = json!(born);
    }
    value.to_string()
}

/// Whether a text is a date that exists, as FHIR writes it: a year, a month of it, or a day of that.
pub(crate) fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let number = |at: usize, len: usize| {
        let part =
            parts.get(at).filter(|part| part.len() == len && part.bytes().all(|b| b.is_ascii_digit()))?;
        part.parse::<u32>().ok()
    };
    let Some(year) = number(0, 4) else { return false };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let month = number(1, 2);
    let longest = match month {
        Some(2) if leap => 29,
        Some(2) => 28,
        Some(4 | 6 | 9 | 11) => 30,
        _ => 31,
    };
    let month_fits = month.is_some_and(|month| (1..=12).contains(&month));
    match parts.len() {
        1 => true,
        2 => month_fits,
        3 => month_fits && number(2, 2).is_some_and(|day| (1..=longest).contains(&day)),
        _ => false,
    }
}

/// What became of contents, in a word.
pub(crate) const fn reading_word(reading: &Reading) -> &'static str {
    match reading {
        Reading::Statement(_) => "here",
        Reading::Erased => "erased",
        Reading::Missing => "not here yet",
        Reading::NoKey => "not for this device",
        Reading::Damaged | _ => "damaged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_a_calendar_has_them() {
        assert_eq!(iso(UnixMillis(0)), "1970-01-01T00:00:00Z");
        // date -u -d @951827696: the leap day of 2000.
        assert_eq!(iso(UnixMillis(951_827_696_000)), "2000-02-29T12:34:56Z");
        assert_eq!(iso(UnixMillis(1_795_564_800_000)), "2026-11-25T00:00:00Z");
    }

    #[test]
    fn only_dates_that_exist_are_dates() {
        for date in ["1950", "1950-02", "1950-02-28", "2000-02-29", "1999-12-31"] {
            assert!(is_date(date), "{date}");
        }
        for date in ["1950-13-32", "1900-02-29", "50", "1950-1-1", "1950-04-31", "", "1950-02-28-01", "+950"]
        {
            assert!(!is_date(date), "{date}");
        }
    }
}
