//! UTF-8 that comes in pieces (RFC 6455 8.1): a character may be cut anywhere, by a fragment as by
//! a segment. Says "invalid" at the first piece that cannot become valid any more.

/// The bytes can never become UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The unfinished character at the end of what was fed so far. Plain data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Utf8 {
    partial: [u8; 3],
    len: u8,
}

impl Utf8 {
    /// Whether no character is cut at the end of what was fed.
    pub fn is_complete(self) -> bool {
        self.len == 0
    }

    /// Checks the next piece.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        let mut rest = bytes;
        while !self.is_complete() {
            let Some((&byte, later)) = rest.split_first() else {
                return Ok(());
            };
            self.extend(byte)?;
            rest = later;
        }
        match simdutf8::compat::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() => rest
                .iter()
                .skip(error.valid_up_to())
                .try_for_each(|&byte| self.extend(byte)),
            Err(_) => Err(Invalid),
        }
    }

    /// One more byte of the unfinished character. Four bytes are a character or nothing, so at most
    /// three ever wait.
    fn extend(&mut self, byte: u8) -> Result<(), Invalid> {
        let [a, b, c] = self.partial;
        let sequence = match self.len {
            0 => [byte, 0, 0, 0],
            1 => [a, byte, 0, 0],
            2 => [a, b, byte, 0],
            _ => [a, b, c, byte],
        };
        let Some(bytes) = sequence.get(..=usize::from(self.len)) else {
            return Err(Invalid);
        };
        match std::str::from_utf8(bytes) {
            Ok(_) => *self = Utf8::default(),
            Err(error) if error.error_len().is_none() => {
                let [a, b, c, _] = sequence;
                *self = Utf8 {
                    partial: [a, b, c],
                    len: self.len + 1,
                };
            }
            Err(_) => return Err(Invalid),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(bytes: &[u8], cuts: &[usize]) -> Result<bool, Invalid> {
        let mut utf8 = Utf8::default();
        let mut rest = bytes;
        for &cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            utf8.receive(now)?;
            rest = later;
        }
        utf8.receive(rest)?;
        Ok(utf8.is_complete())
    }

    proptest! {
        #[test]
        fn pieces_are_judged_as_the_whole(
            text in ".{0,40}", noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            cuts in prop::collection::vec(0usize..9, 0..12),
        ) {
            let mut bytes = text.into_bytes();
            if let Some((at, byte)) = noise && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let whole = std::str::from_utf8(&bytes).is_ok();
            prop_assert_eq!(pieces(&bytes, &cuts) == Ok(true), whole);
        }
    }

    #[test]
    fn a_hopeless_beginning_is_refused_before_its_end() {
        // F4 90 would be above U+10FFFF, ED A0 a surrogate, E0 80 an overlong form.
        for start in [[0xf4, 0x90], [0xed, 0xa0], [0xe0, 0x80]] {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.receive(&start[..1]), Ok(()));
            assert_eq!(utf8.receive(&start[1..]), Err(Invalid));
        }
    }
}
