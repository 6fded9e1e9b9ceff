//! Where players are: `send` and `rpc` with positions, on their way to the journal.
//!
//! From the codecs come bytes, to the journal goes a list of points (`path::Point`). A message is taken
//! whole or not at all. Who sends too fast is refused and not disconnected: an rpc is told (error 111),
//! a `send` has no answer and is only counted. Time is checked by the journal, which has a clock.
//!
//! Bounds: [`path::POINTS_MAX`] points a message, [`path::EXTRA_BYTES_MAX`] bytes of other fields a
//! point, and the rate (`Rules::positions_per_s`). Nothing is allocated but for names with escapes.

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::metrics::catalog::Metric;
use crate::path::{self, EXTRA_BYTES_MAX, POINTS_MAX, Point, UNITS_PER_DEGREE};
use crate::ring::submit::{Positions, Submission};
use crate::session::codec::{self, Rpc, Send};
use crate::session::codes::{Disconnect, Error};
use crate::session::{Purpose, Road, Sessions};
use crate::units::{ConnId, Micros};

/// The method that takes positions.
const METHOD: &str = "position";

/// How long a player may save up what it does not send: one that was in a tunnel catches up at once.
/// Also how many seconds' worth of points come in one burst at most.
const BURST_S: u64 = 10;

/// Latest time a message may name, in milliseconds: what a double holds exactly.
const TIME_MS_MAX: f64 = 9_007_199_254_740_992.0;

/// Why positions are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuse {
    /// The message says nothing of positions.
    Other,
    /// It does, but not in a way that could be.
    Invalid,
    /// More points than a message, or a burst, may have.
    TooMany,
    /// The player has no user id.
    Anonymous,
    /// More than the rate allows.
    TooFast,
}

/// How fast one player sends points: until when it has used up its share (a leaky bucket as a time).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    used_until: Micros,
}

impl Pace {
    /// Whether `points` more may come at `now`; if so, they have.
    fn take(&mut self, points: usize, per_s: u32, now: Micros) -> bool {
        let cost = points as u64 * 1_000_000 / u64::from(per_s.max(1));
        let used = self.used_until.max(now) + Micros(cost);
        let fits = used.since(now) <= Micros::from_secs(BURST_S);
        if fits {
            self.used_until = used;
        }
        fits
    }
}

impl Sessions {
    pub(super) fn on_rpc(&mut self, road: &mut Road<'_>, id: ConnId, number: u32, rpc: &Rpc<'_>) {
        let error = if self.rules.positions_per_s == 0 {
            Error::NotAvailable
        } else if rpc.method != METHOD {
            Error::MethodNotFound
        } else {
            match self.take_positions(road.now, id, rpc.data) {
                Ok(_) => return self.submit_rpc(road, id, number),
                Err(Refuse::Other | Refuse::Invalid) => Error::BadRequest,
                Err(Refuse::TooMany) => Error::LimitExceeded,
                Err(Refuse::Anonymous) => Error::PermissionDenied,
                Err(Refuse::TooFast) => Error::TooManyRequests,
            }
        };
        self.refuse(road, id, number, error);
    }

    pub(super) fn on_send(&mut self, road: &mut Road<'_>, id: ConnId, send: &Send<'_>) {
        let taken = match self.rules.positions_per_s {
            0 => Err(Refuse::Other),
            _ => self.take_positions(road.now, id, send.data),
        };
        match taken {
            Ok(points) if !self.submit_positions(road, id, None) => {
                self.counters.add(Metric::PathPointsLost, points as u64);
            }
            Err(Refuse::Other) => self.disconnect(road, id, Disconnect::NotAvailable),
            Ok(_) | Err(_) => {}
        }
    }

    fn submit_rpc(&mut self, road: &mut Road<'_>, id: ConnId, number: u32) {
        let Some(token) = self.ask(road, id, number, Purpose::Rpc) else {
            return;
        };
        if !self.submit_positions(road, id, Some(token)) {
            self.withdraw(road, id, number, token);
        }
    }

    /// Hands the points in `out` to the journal; false when the ring is full.
    fn submit_positions(&self, road: &mut Road<'_>, id: ConnId, token: Option<u64>) -> bool {
        let positions = Positions {
            token,
            user: self.user(id),
            points: &self.out,
        };
        road.submit.submit(&Submission::Positions(positions))
    }

    /// Replaces `out` by the points that `data` says; answers how many. What is refused is counted.
    fn take_positions(&mut self, now: Micros, id: ConnId, data: &[u8]) -> Result<usize, Refuse> {
        self.framed.clear();
        self.out.clear();
        let per_s = self.rules.positions_per_s;
        let refuse = match read(data, &mut self.framed, &mut self.out) {
            Err(refuse) => refuse,
            Ok(_) if self.user(id).is_empty() => Refuse::Anonymous,
            Ok(points) if points as u64 > u64::from(per_s) * BURST_S => Refuse::TooMany,
            Ok(points) => {
                let bearer = self.player(id).and_then(|player| player.bearer.as_mut());
                if bearer.is_some_and(|bearer| bearer.pace.take(points, per_s, now)) {
                    return Ok(points);
                }
                self.counters.add(Metric::PathPointsTooFast, points as u64);
                return Err(Refuse::TooFast);
            }
        };
        let metric = match refuse {
            Refuse::Anonymous => Metric::PathMessagesAnonymous,
            _ => Metric::PathMessagesInvalid,
        };
        self.counters.inc(metric);
        Err(refuse)
    }
}

/// What a message about positions has: one of the two.
#[derive(serde::Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    position: Option<&'a RawValue>,
    #[serde(borrow)]
    positions: Option<&'a RawValue>,
}

/// Appends the points that `data` says to `list`; answers how many. `line` is room to work in.
fn read(data: &[u8], line: &mut Vec<u8>, list: &mut Vec<u8>) -> Result<usize, Refuse> {
    codec::append_line(line, data).map_err(|_| Refuse::Other)?;
    // An array would be taken for the fields in their order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(Refuse::Other);
    }
    let shape = serde_json::from_slice::<Shape<'_>>(line).map_err(|_| Refuse::Other)?;
    let mut points = Points { list, count: 0 };
    let (json, read) = match (shape.position, shape.positions) {
        (None, None) => return Err(Refuse::Other),
        (Some(_), Some(_)) => return Err(Refuse::Invalid),
        (Some(one), None) => {
            let mut json = serde_json::Deserializer::from_str(one.get());
            (one, OnePoint(&mut points).deserialize(&mut json))
        }
        (None, Some(many)) => {
            let mut json = serde_json::Deserializer::from_str(many.get());
            (many, (&mut json).deserialize_seq(&mut points))
        }
    };
    match (read, points.count) {
        (_, count) if count > POINTS_MAX => Err(Refuse::TooMany),
        (Ok(()), count) if count > 0 && json.get().starts_with(['{', '[']) => Ok(count),
        _ => Err(Refuse::Invalid),
    }
}

/// The points read so far.
struct Points<'o> {
    list: &'o mut Vec<u8>,
    count: usize,
}

/// An array of points.
impl<'de> Visitor<'de> for &mut Points<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of points")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut points: A) -> Result<(), A::Error> {
        while points.next_element_seed(OnePoint(self))?.is_some() {}
        Ok(())
    }
}

/// The next one.
struct OnePoint<'p, 'o>(&'p mut Points<'o>);

impl<'de> DeserializeSeed<'de> for OnePoint<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OnePoint<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with lat and lon")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let bad = || A::Error::custom("not a point");
        self.0.count += 1;
        if self.0.count > POINTS_MAX {
            return Err(bad());
        }
        let mut extra = Extra::default();
        let (mut lat, mut lon, mut time): (Option<f64>, Option<f64>, Option<Option<f64>>) =
            (None, None, None);
        while let Some(name) = fields.next_key_seed(Name)? {
            let taken = match &*name {
                "lat" => lat.replace(fields.next_value()?).is_some(),
                "lon" => lon.replace(fields.next_value()?).is_some(),
                "t" => time.replace(fields.next_value()?).is_some(),
                _ => !extra.add(&name, fields.next_value::<&RawValue>()?.get()),
            };
            if taken {
                return Err(bad());
            }
        }
        let time_ms = match time.flatten() {
            None => 0,
            Some(t) => whole(t, 1.0..=TIME_MS_MAX).ok_or_else(bad)?,
        };
        let units = |degrees: Option<f64>, most: f64| {
            let units = degrees.filter(|degrees| degrees.abs() <= most)? * UNITS_PER_DEGREE;
            i32::try_from(whole(units.round(), -2e9..=2e9)?).ok()
        };
        let point = Point {
            time_ms: u64::try_from(time_ms).map_err(|_| bad())?,
            lat_e7: units(lat, 90.0).ok_or_else(bad)?,
            lon_e7: units(lon, 180.0).ok_or_else(bad)?,
            extra: extra.close(),
        };
        point.append(self.0.list);
        Ok(())
    }
}

/// The whole part of `number`, if it is within `range`.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the range is within what an i64 holds; that it ends the fraction is what is wanted"
)]
fn whole(number: f64, range: std::ops::RangeInclusive<f64>) -> Option<i64> {
    range.contains(&number).then_some(number as i64)
}

/// A field's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// A point's other fields, as a JSON object in one line, under construction.
struct Extra {
    bytes: [u8; path::EXTRA_BYTES_MAX],
    len: usize,
}

impl Default for Extra {
    fn default() -> Extra {
        Extra {
            bytes: [0; EXTRA_BYTES_MAX],
            len: 0,
        }
    }
}

impl Extra {
    /// Adds a field with a value in one line; false when there is no room for it.
    fn add(&mut self, name: &str, value: &str) -> bool {
        let Some(room) = self.bytes.get_mut(self.len..) else {
            return false;
        };
        let mut rest = &mut *room;
        let written = write_field(&mut rest, self.len == 0, name, value);
        let left = rest.len();
        // The closing brace has its place too.
        self.len = EXTRA_BYTES_MAX - left;
        written.is_ok() && left > 0
    }

    fn close(&mut self) -> &[u8] {
        if self.len > 0
            && let Some(last) = self.bytes.get_mut(self.len)
        {
            *last = b'}';
            self.len += 1;
        }
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn write_field(
    out: &mut &mut [u8],
    is_first: bool,
    name: &str,
    value: &str,
) -> std::io::Result<()> {
    use std::io::Write;
    out.write_all(if is_first { b"{" } else { b"," })?;
    serde_json::to_writer(&mut *out, name)?;
    out.write_all(b":")?;
    out.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(data: &str) -> Result<Vec<(u64, i32, i32, String)>, Refuse> {
        let mut list = Vec::new();
        let count = read(data.as_bytes(), &mut Vec::new(), &mut list)?;
        let points: Vec<_> = Point::list(&list)
            .map(|point| {
                let extra = String::from_utf8(point.extra.to_vec()).unwrap();
                (point.time_ms, point.lat_e7, point.lon_e7, extra)
            })
            .collect();
        assert_eq!(points.len(), count);
        Ok(points)
    }

    #[test]
    fn what_is_a_position() {
        let one = |t, lat, lon, extra: &str| Ok(vec![(t, lat, lon, extra.to_owned())]);
        for (data, wanted) in [
            (
                r#"{"position":{"lat":52.5200066,"lon":13.404954}}"#,
                one(0, 525_200_066, 134_049_540, ""),
            ),
            (
                r#" { "position" : { "t" : 1700000000000.75 , "lon" : -180 , "lat" : 90 } } "#,
                one(1_700_000_000_000, 900_000_000, -1_800_000_000, ""),
            ),
            (
                r#"{"other":[1],"position":{"lat":-90.0,"lon":180.0,"t":null,"acc": 5.5,"n\"":{"a": [1]}}}"#,
                one(
                    0,
                    -900_000_000,
                    1_800_000_000,
                    r#"{"acc":5.5,"n\"":{"a": [1]}}"#,
                ),
            ),
            (
                r#"{"positions":[{"lat":0,"lon":-0.00000004}],"position":null}"#,
                one(0, 0, 0, ""),
            ),
            (
                r#"{"positions":[{"lat":1e0,"lon":1,"t":1},{"lat":1,"lon":2,"t":2,"a":"{"}]}"#,
                Ok(vec![
                    (1, 10_000_000, 10_000_000, String::new()),
                    (2, 10_000_000, 20_000_000, r#"{"a":"{"}"#.to_owned()),
                ]),
            ),
        ] {
            assert_eq!(points(data), wanted, "{data}");
        }
    }

    #[test]
    fn what_is_no_position_and_what_is_a_bad_one() {
        for data in [
            "",
            "1",
            "null",
            "[]",
            "[1,2]",
            r#""position""#,
            "{}",
            "{",
            r#"{"position":null}"#,
            r#"{"a":{"position":{"lat":1,"lon":1}}}"#,
            r#"{"position":1,"position":1}"#,
            r#"[{"lat":1,"lon":1},null]"#,
        ] {
            assert_eq!(points(data), Err(Refuse::Other), "{data}");
        }
        let point = |fields: &str| format!(r#"{{"position":{{{fields}}}}}"#);
        let long = format!(r#""lat":1,"lon":1,"a":"{}""#, "x".repeat(EXTRA_BYTES_MAX));
        for fields in [
            "",
            r#""lat":1"#,
            r#""lon":1"#,
            r#""lat":90.0000001,"lon":1"#,
            r#""lat":-91,"lon":1"#,
            r#""lat":1,"lon":180.0000001"#,
            r#""lat":1,"lon":-1e300"#,
            r#""lat":1,"lon":1e999"#,
            r#""lat":"1","lon":1"#,
            r#""lat":null,"lon":1"#,
            r#""lat":1,"lat":1,"lon":1"#,
            r#""lat":1,"lon":1,"t":0"#,
            r#""lat":1,"lon":1,"t":-1"#,
            r#""lat":1,"lon":1,"t":1e16"#,
            r#""lat":1,"lon":1,"t":"1""#,
            r#""lat":1,"lon":1,"t":null,"t":1"#,
            &long,
        ] {
            assert_eq!(points(&point(fields)), Err(Refuse::Invalid), "{fields}");
        }
        for data in [
            r#"{"position":[1,2]}"#,
            r#"{"position":[{"lat":1,"lon":1}]}"#,
            r#"{"position":7}"#,
            r#"{"positions":{"lat":1,"lon":1}}"#,
            r#"{"positions":[]}"#,
            r#"{"positions":[[1,2]]}"#,
            r#"{"positions":[{"lat":1,"lon":1},{"lat":91,"lon":1}]}"#,
            r#"{"position":{"lat":1,"lon":1},"positions":[{"lat":1,"lon":1}]}"#,
        ] {
            assert_eq!(points(data), Err(Refuse::Invalid), "{data}");
        }
    }

    #[test]
    fn a_batch_and_what_a_point_says_besides_are_bounded() {
        let batch = |count: usize| {
            let one = r#"{"lat":1,"lon":2}"#;
            format!(r#"{{"positions":[{}]}}"#, vec![one; count].join(","))
        };
        assert_eq!(points(&batch(POINTS_MAX)).unwrap().len(), POINTS_MAX);
        assert_eq!(points(&batch(POINTS_MAX + 1)), Err(Refuse::TooMany));
        // {"a":"..."} takes 8 bytes around the text.
        for (len, fits) in [(EXTRA_BYTES_MAX - 8, true), (EXTRA_BYTES_MAX - 7, false)] {
            let text = "x".repeat(len);
            let data = format!(r#"{{"position":{{"lat":1,"lon":1,"a":"{text}"}}}}"#);
            let read = points(&data);
            assert_eq!(read.is_ok(), fits, "{len}");
            if let Ok(points) = read {
                assert_eq!(points[0].3.len(), EXTRA_BYTES_MAX);
                assert!(points[0].3.ends_with("x\"}"));
            }
        }
    }

    #[test]
    fn pace_is_the_rate_after_the_burst() {
        let mut pace = Pace::default();
        let start = Micros::from_secs(1_000);
        // A batch first, then one by one to the end of the burst.
        assert!(pace.take(90, 10, start));
        assert!(!pace.take(11, 10, start));
        let taken = (0..100).filter(|_| pace.take(1, 10, start)).count();
        assert_eq!(taken, 10);
        let later = |ms| start + Micros::from_millis(ms);
        assert!(!pace.take(1, 10, later(99)));
        assert!(pace.take(1, 10, later(100)));
        assert!(!pace.take(1, 10, later(100)));
        // What is not used is saved up, to the burst and no further.
        assert!(!pace.take(101, 10, later(1_000_000)));
        assert!(pace.take(100, 10, later(1_000_000)));
        assert!(!pace.take(1, 10, later(1_000_000)));
    }
}
