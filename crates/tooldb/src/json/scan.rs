//! The grammar of JSON: finds where values end without building them.

use super::JsonError;

/// How deep arrays and objects may nest. What the library writes is shallow; a frame of 200,000 brackets is
/// an attack on the reader's stack.
pub const DEPTH_MAX: usize = 128;

/// A position in a JSON text. Every step either moves past a well-formed piece or fails.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// The first byte of the next value, which tells its type.
    pub(crate) fn ahead(&mut self) -> Result<u8, JsonError> {
        self.skip_space();
        self.peek().ok_or(JsonError::Syntax)
    }

    fn since(&self, start: usize) -> Result<&'a str, JsonError> {
        self.text.get(start..self.at).ok_or(JsonError::Syntax)
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.ahead()? != byte {
            return Err(JsonError::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    /// Fails unless nothing but space is left.
    pub(crate) fn finish(mut self) -> Result<(), JsonError> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    pub(crate) fn word(&mut self, word: &str) -> Result<(), JsonError> {
        let rest = self.text.get(self.at..).ok_or(JsonError::Syntax)?;
        if !rest.starts_with(word) {
            return Err(JsonError::Syntax);
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a string literal and returns its inside, escapes and all.
    pub(crate) fn string(&mut self) -> Result<&'a str, JsonError> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek().ok_or(JsonError::Syntax)? {
                b'"' => break,
                b'\\' => self.escape()?,
                0..=0x1f => return Err(JsonError::Syntax),
                _ => self.at += 1,
            }
        }
        let inside = self.since(start)?;
        self.at += 1;
        Ok(inside)
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.text.as_bytes().get(self.at + 1..self.at + 5).ok_or(JsonError::Syntax)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(JsonError::Syntax);
                }
                self.at += 5;
            }
            _ => return Err(JsonError::Syntax),
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(JsonError::Syntax) } else { Ok(()) }
    }

    /// Reads a number and returns its text.
    pub(crate) fn number(&mut self) -> Result<&'a str, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        self.since(start)
    }

    /// Walks over the items between `open` and `close`, calling `item` at the start of each.
    fn items(
        &mut self,
        (open, close): (u8, u8),
        mut item: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.expect(open)?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(JsonError::TooDeep);
        }
        if self.ahead()? == close {
            self.at += 1;
        } else {
            loop {
                item(self)?;
                match self.ahead()? {
                    b',' => self.at += 1,
                    byte if byte == close => {
                        self.at += 1;
                        break;
                    }
                    _ => return Err(JsonError::Syntax),
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Walks over an array; `item` must consume exactly one value.
    pub(crate) fn array(
        &mut self,
        item: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.items((b'[', b']'), item)
    }

    /// Walks over an object; `member` gets the inside of the name and must consume exactly one value.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'a str) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.items((b'{', b'}'), |scanner| {
            let name = scanner.string()?;
            scanner.expect(b':')?;
            member(scanner, name)
        })
    }

    /// Passes over one value and returns its text.
    pub(crate) fn skip(&mut self) -> Result<&'a str, JsonError> {
        let first = self.ahead()?;
        let start = self.at;
        match first {
            b'{' => self.object(|scanner, _| scanner.skip().map(drop))?,
            b'[' => self.array(|scanner| scanner.skip().map(drop))?,
            b'"' => drop(self.string()?),
            b'n' => self.word("null")?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            _ => drop(self.number()?),
        }
        self.since(start)
    }
}
