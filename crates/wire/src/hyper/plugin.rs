use crate::compact::{DecodeError, Reader, Write};
use crate::rpc::{flags, optional};

/// The value of a PLUGIN request, which reaches an extension by name.
///
/// ```text
/// | plugin bytes | version uint | command uint | flags uint: 1 value | [value bytes] |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PluginRequest<'a> {
    /// The extension's name.
    pub plugin: &'a str,
    /// The extension's version.
    pub version: u64,
    /// The extension's command.
    pub command: u64,
    /// The command's argument.
    pub value: Option<&'a [u8]>,
}

impl<'a> PluginRequest<'a> {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// Fails on early end and on a name that is not UTF-8.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let (plugin, version, command) = (r.text()?, r.uint()?, r.uint()?);
        let flags = r.uint()?;
        Ok(Self { plugin, version, command, value: optional(flags & 1, || r.bytes())? })
    }

    /// Appends the request to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.bytes(self.plugin.as_bytes());
        out.uint(self.version);
        out.uint(self.command);
        out.uint(flags([(1, self.value.is_some())]));
        self.value.iter().for_each(|value| out.bytes(value));
    }
}
