//! Messages that say which part they are for.

use jiff::Timestamp;

use super::Occasion;

/// A message with places that are filled in when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Part,
    Class,
    Score,
    Time,
}

/// What may stand in braces.
const PLACES: [(&str, Piece); 4] =
    [("part", Piece::Part), ("class", Piece::Class), ("score", Piece::Score), ("time", Piece::Time)];

/// What is said in place of what is not known.
const UNKNOWN: &str = "-";

impl Template {
    /// A message of these bytes, whatever they are.
    pub fn verbatim(bytes: &[u8]) -> Self {
        Template(vec![Piece::Bytes(bytes.to_vec())])
    }

    /// Reads `text`, in which `{part}`, `{class}`, `{score}` and `{time}` are places, and `{{` and `}}` are single braces.
    ///
    /// # Errors
    ///
    /// What is wrong: a brace without its pair, or a place that there is not.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut plain = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.extend_from_slice(before.as_bytes());
            if from.starts_with("{{") || from.starts_with("}}") {
                plain.push(from.as_bytes()[0]);
                rest = &from[2..];
                continue;
            }
            let (name, after) = from
                .strip_prefix('{')
                .and_then(|inside| inside.split_once('}'))
                .ok_or("holds a brace without its pair")?;
            let place = PLACES.iter().find(|(known, _)| *known == name);
            let (_, piece) = place.ok_or_else(|| format!("holds a place that there is not: {{{name}}}"))?;
            pieces.extend([Piece::Bytes(std::mem::take(&mut plain)), piece.clone()]);
            rest = after;
        }
        plain.extend_from_slice(rest.as_bytes());
        pieces.push(Piece::Bytes(plain));
        Ok(Template(pieces))
    }

    /// The message for `occasion`, sent at `time`.
    pub fn fill(&self, occasion: &Occasion, time: Timestamp) -> Vec<u8> {
        let mut message = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => message.extend_from_slice(bytes),
                Piece::Part => message.extend(said(occasion.part.map(|part| part.0.to_string()))),
                Piece::Class => message.extend(said(occasion.class.clone())),
                Piece::Score => message.extend(said(occasion.score.map(|score| format!("{score:.3}")))),
                Piece::Time => message.extend(format!("{time:.3}").bytes()),
            }
        }
        message
    }
}

/// A class's name comes with a bundle, and must not end the message that it stands in.
fn said(word: Option<String>) -> Vec<u8> {
    word.map_or_else(|| UNKNOWN.into(), |word| word.replace(char::is_control, "?").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::PartId;

    fn filled(text: &str, occasion: &Occasion) -> String {
        let time = "2026-11-24T16:20:30.0415Z".parse().unwrap();
        String::from_utf8(Template::parse(text).unwrap().fill(occasion, time)).unwrap()
    }

    #[test]
    fn a_message_says_what_it_is_for() {
        let bad = Occasion { part: Some(PartId(17)), class: Some("lid\r\nOK".into()), score: Some(1.73456) };
        let cases = [
            ("REJECT\r\n", "REJECT\r\n", "REJECT\r\n"),
            ("R {part},{class},{score};", "R 17,lid??OK,1.735;", "R -,-,-;"),
            ("{{{part}}}", "{17}", "{-}"),
            ("{time}\n", "2026-11-24T16:20:30.041Z\n", "2026-11-24T16:20:30.041Z\n"),
            ("", "", ""),
        ];
        for (text, known, unknown) in cases {
            assert_eq!(filled(text, &bad), known);
            assert_eq!(filled(text, &Occasion::default()), unknown);
        }
    }

    #[test]
    fn places_that_there_are_not_are_refused() {
        for (text, says) in [
            ("R{score", "without its pair"),
            ("R}", "without its pair"),
            ("{id}", "{id}"),
            ("{}", "{}"),
            ("{ part}", "{ part}"),
        ] {
            let why = Template::parse(text).expect_err(text);
            assert!(why.contains(says), "{text}: {why}");
        }
    }

    #[test]
    fn bytes_are_sent_as_they_are() {
        let bytes = b"{part}\xff\x00";
        assert_eq!(Template::verbatim(bytes).fill(&Occasion::default(), Timestamp::UNIX_EPOCH), bytes);
    }
}
