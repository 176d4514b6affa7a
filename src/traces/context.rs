//! Pure: which trace a request belongs to (W3C Trace Context).

use std::fmt;

/// A span's place in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    /// `None`: the trace begins here.
    pub parent: Option<u64>,
}

impl TraceContext {
    /// The span of a request, by its name (32 hexadecimal digits): where no
    /// trace is gone on with, that is the trace's, too.
    pub fn of(request_id: &str, caller: Option<Caller>) -> Self {
        let own = u128::from_str_radix(request_id, 16)
            .unwrap_or_default()
            .max(1);
        Self {
            trace_id: caller.map_or(own, |caller| caller.trace_id),
            span_id: (own as u64).max(1),
            parent: caller.map(|caller| caller.span_id),
        }
    }

    /// A span below this one: of a request it has one.
    pub fn child(&self) -> Self {
        Self {
            trace_id: self.trace_id,
            span_id: self.span_id.rotate_left(32) ^ 1,
            parent: Some(self.span_id),
        }
    }
}

/// The value of `traceparent` for whoever is asked next.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace_id, self.span_id)
    }
}

/// What the caller says in `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    pub trace_id: u128,
    pub span_id: u64,
    pub sampled: bool,
}

impl Caller {
    /// `None` where it does not say so in the form of version 00, or of a later
    /// one that begins like it.
    pub fn parse(value: &str) -> Option<Self> {
        let mut fields = value.split('-');
        let mut field = |length: usize| {
            let text = fields.next().filter(|text| text.len() == length)?;
            let lower = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            text.bytes().all(lower).then_some(text)
        };
        let version = field(2).filter(|version| *version != "ff")?;
        let trace_id = u128::from_str_radix(field(32)?, 16).ok()?;
        let span_id = u64::from_str_radix(field(16)?, 16).ok()?;
        let flags = u8::from_str_radix(field(2)?, 16).ok()?;
        let more = fields.next().is_some() && version == "00";
        (trace_id != 0 && span_id != 0 && !more).then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_specification_writes_it() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let caller = Caller::parse(good).expect("a caller");
        assert!(caller.sampled && caller.span_id == 0xb7ad_6b71_6920_3331);
        let span = TraceContext::of("0123456789abcdef0123456789abcdef", Some(caller));
        assert_eq!(
            span.to_string(),
            "00-0af7651916cd43dd8448eb211c80319c-0123456789abcdef-01"
        );
        assert_eq!(span.child().parent, Some(span.span_id));
        let own = TraceContext::of("0123456789abcdef0123456789abcdef", None);
        assert_eq!(
            (own.parent, own.trace_id),
            (None, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
        );
        let table = [
            (
                "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-x",
                true,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
                false,
            ),
            (
                "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                false,
            ),
            (
                "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                false,
            ),
            (
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
                false,
            ),
            ("", false),
        ];
        for (value, good) in table {
            assert_eq!(Caller::parse(value).is_some(), good, "{value}");
        }
    }
}
