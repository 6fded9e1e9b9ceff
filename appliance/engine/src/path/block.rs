//! A piece of a path as one value: what a tail of points becomes.
//!
//! `journal::path` decides when, the store compresses what [`encode`] made (zstd) and gives it back. The
//! points of a block stand in the order of their places; a block says how many there are and how much
//! time they cover without being opened ([`Head`]).
//!
//! | part | what it is |
//! |---|---|
//! | head | version, 1 byte; number of points, varint; milliseconds from the first to the last, varint |
//! | body | texts, then columns; compressed by the store |
//! | texts | how many different ones the points' other fields are written around, varint; each: pieces, varint, and each piece behind its length |
//! | columns | bits ([`column`]): time (before that of the last point), arrival (before that of the last point, and less one for each point in front), latitude, longitude; if there are several texts, which; for each text and gap the numbers that fill it |
//! | numbers | 2 bits say how: all with the same decimals (4 bits); in their shortest form, all as if with the most decimals of any (4 bits); or decimals and digits as two columns |
//!
//! Invariants: any points come back as they were, whatever their other fields are; any bytes give
//! points or [`Damaged`], never a panic, and never more than [`POINTS_MAX`] points.

use crate::path::bits::{Reader, Writer};
use crate::path::template::{self, Number};
use crate::path::{EXTRA_BYTES_MAX, Place, Point, column};
use crate::protobuf::{append_varint, take_delimited, take_varint};

/// Points of a block at most: a tail is cut there. A full tail has some hundred, one that was not looked
/// at in time has more.
pub const POINTS_MAX: usize = 1_024;

/// Of this layout.
const VERSION: u8 = 1;

/// Bits of [`Form`].
const FORM_BITS: u32 = 2;

/// Bits of a number of decimals.
const DECIMALS_BITS: u32 = 4;

/// Digits up to which numbers are written as if with more decimals than they have.
const WIDENED_MAX: i64 = 1 << 52;

/// A block that nobody wrote like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a block of a path is damaged")]
pub struct Damaged;

/// A point and its place; the point's own time is the place's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<'a> {
    /// Where it stands.
    pub place: Place,
    /// What it says.
    pub point: Point<'a>,
}

/// What a block says of itself without being opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Points, 1 to [`POINTS_MAX`].
    pub count: usize,
    /// Milliseconds from the first point's time to the last one's.
    pub span_ms: u64,
}

impl Head {
    /// Of these points, which are in the order of their places and at most [`POINTS_MAX`].
    pub fn of(points: &[Placed<'_>]) -> Head {
        let time = |placed: Option<&Placed<'_>>| placed.map_or(0, |p| p.place.time_ms);
        Head {
            count: points.len(),
            span_ms: time(points.last()).saturating_sub(time(points.first())),
        }
    }

    /// Appends it.
    pub fn append(self, out: &mut Vec<u8>) {
        out.push(VERSION);
        append_varint(out, self.count as u64);
        append_varint(out, self.span_ms);
    }

    /// Takes it from the front of a value; what is left is the body.
    pub fn take(value: &[u8]) -> Result<(Head, &[u8]), Damaged> {
        let (&version, mut rest) = value.split_first().ok_or(Damaged)?;
        let count = take_varint(&mut rest).map_err(|_| Damaged)?;
        let span_ms = take_varint(&mut rest).map_err(|_| Damaged)?;
        let count = usize::try_from(count).map_err(|_| Damaged)?;
        if version != VERSION || !(1..=POINTS_MAX).contains(&count) {
            return Err(Damaged);
        }
        Ok((Head { count, span_ms }, rest))
    }
}

/// How the numbers of one gap are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// With so many decimals, all of them.
    Same(u32),
    /// Without zeros at the end; the column has all of them with so many decimals.
    Shortest(u32),
    /// Decimals and digits.
    Both,
}

/// Appends the body of a block: `points` in the order of their places, at most [`POINTS_MAX`].
pub fn encode(points: &[Placed<'_>], body: &mut Vec<u8>) {
    let Some(last) = points.last().map(|placed| placed.place) else {
        return;
    };
    let mut texts: Vec<Vec<&[u8]>> = Vec::new();
    // Of each text and gap.
    let mut gaps: Vec<Vec<Vec<Number>>> = Vec::new();
    let mut which = Vec::with_capacity(points.len());
    let (mut pieces, mut numbers) = (Vec::new(), Vec::new());
    for placed in points {
        pieces.clear();
        numbers.clear();
        template::split(placed.point.extra, &mut pieces, &mut numbers);
        let known = texts.iter().position(|text| *text == pieces);
        let index = known.unwrap_or(texts.len());
        if known.is_none() {
            texts.push(pieces.clone());
            gaps.push(vec![Vec::new(); numbers.len()]);
        }
        for (gap, number) in gaps[index].iter_mut().zip(&numbers) {
            gap.push(*number);
        }
        which.push(i64::try_from(index).unwrap_or(0));
    }
    append_texts(&texts, body);
    let mut bits = Writer::default();
    let mut column = |value: &dyn Fn(u64, &Placed<'_>) -> i64| {
        let values: Vec<i64> = (0..)
            .zip(points)
            .map(|(at, placed)| value(at, placed))
            .collect();
        column::write(&values, &mut bits);
    };
    column(&|_, placed| {
        placed
            .place
            .time_ms
            .wrapping_sub(last.time_ms)
            .cast_signed()
    });
    column(&|at, placed| one_by_one(placed.place.arrival, last.arrival, at));
    column(&|_, placed| i64::from(placed.point.lat_e7));
    column(&|_, placed| i64::from(placed.point.lon_e7));
    if texts.len() > 1 {
        column::write(&which, &mut bits);
    }
    for gap in gaps.iter().flatten() {
        write_numbers(gap, &mut bits);
    }
    body.extend_from_slice(&bits.finish());
}

/// How far a point's arrival is from what it is if all arrive one after the other in the order of their
/// times: nearly always as far as the others.
fn one_by_one(arrival: u64, last: u64, at: u64) -> i64 {
    arrival.wrapping_sub(last).wrapping_sub(at).cast_signed()
}

fn append_texts(texts: &[Vec<&[u8]>], body: &mut Vec<u8>) {
    append_varint(body, texts.len() as u64);
    for text in texts {
        append_varint(body, text.len() as u64);
        for piece in text {
            append_varint(body, piece.len() as u64);
            body.extend_from_slice(piece);
        }
    }
}

fn write_numbers(numbers: &[Number], bits: &mut Writer) {
    let form = form_of(numbers);
    let (code, decimals) = match form {
        Form::Same(decimals) => (0, Some(decimals)),
        Form::Shortest(decimals) => (1, Some(decimals)),
        Form::Both => (2, None),
    };
    bits.bits(code, FORM_BITS);
    if let Some(decimals) = decimals {
        bits.bits(u64::from(decimals), DECIMALS_BITS);
    } else {
        let decimals: Vec<i64> = numbers.iter().map(|n| i64::from(n.decimals)).collect();
        column::write(&decimals, bits);
    }
    let digits = |number: &Number| match form {
        Form::Shortest(most) => widened(*number, most).unwrap_or(0),
        Form::Same(_) | Form::Both => number.digits,
    };
    let digits: Vec<i64> = numbers.iter().map(digits).collect();
    column::write(&digits, bits);
}

fn form_of(numbers: &[Number]) -> Form {
    let decimals = || numbers.iter().map(|number| number.decimals);
    let most = decimals().max().unwrap_or(0);
    let fits = |number: &Number| widened(*number, most).map(|digits| shortest(digits, most));
    if decimals().all(|decimals| decimals == most) {
        Form::Same(most)
    } else if numbers.iter().all(|number| fits(number) == Some(*number)) {
        Form::Shortest(most)
    } else {
        Form::Both
    }
}

/// The digits of `number` with `decimals` decimals, which are not fewer than its own.
fn widened(number: Number, decimals: u32) -> Option<i64> {
    let unit = 10_i64.checked_pow(decimals.checked_sub(number.decimals)?)?;
    let digits = number.digits.checked_mul(unit)?;
    (digits.abs() <= WIDENED_MAX).then_some(digits)
}

/// The number without zeros at its end.
fn shortest(mut digits: i64, mut decimals: u32) -> Number {
    while decimals > 0 && digits % 10 == 0 {
        digits /= 10;
        decimals -= 1;
    }
    Number { digits, decimals }
}

/// Shows the points of a block whose last one is at `last`, in order, until `visit` answers false. Some
/// may have been shown when the rest turns out to be damaged.
pub fn decode(
    head: Head,
    last: Place,
    body: &[u8],
    visit: &mut dyn FnMut(Placed<'_>) -> bool,
) -> Result<(), Damaged> {
    let mut rest = body;
    let texts = take_texts(&mut rest, head.count)?;
    let mut bits = Reader::new(rest);
    let mut column = |count| {
        let mut values = Vec::with_capacity(count);
        column::read(count, &mut bits, &mut values).map(|()| values)
    };
    let (times, arrivals) = (column(head.count)?, column(head.count)?);
    let (lats, lons) = (column(head.count)?, column(head.count)?);
    let which = match texts.len() {
        1 => vec![0; head.count],
        _ => column(head.count)?,
    };
    let index = |index: &i64| usize::try_from(*index).ok().filter(|&i| i < texts.len());
    let which: Option<Vec<usize>> = which.iter().map(index).collect();
    let which = which.ok_or(Damaged)?;
    let mut gaps = read_gaps(&texts, &which, &mut bits)?;
    let mut extra = Vec::with_capacity(EXTRA_BYTES_MAX);
    for (row, (at, &index)) in (0_u64..).zip(which.iter().enumerate()) {
        extra.clear();
        let numbers = gaps[index].iter_mut().filter_map(Iterator::next);
        template::join(texts[index].iter().copied(), numbers, &mut extra)?;
        let place = Place {
            time_ms: last.time_ms.wrapping_add(times[at].cast_unsigned()),
            arrival: last
                .arrival
                .wrapping_add(arrivals[at].cast_unsigned())
                .wrapping_add(row),
        };
        let point = Point {
            time_ms: place.time_ms,
            lat_e7: i32::try_from(lats[at]).map_err(|_| Damaged)?,
            lon_e7: i32::try_from(lons[at]).map_err(|_| Damaged)?,
            extra: &extra,
        };
        if !visit(Placed { place, point }) {
            break;
        }
    }
    Ok(())
}

/// The pieces of each text; there are no more texts than points, and no more gaps in one than its bytes
/// could have been numbers.
fn take_texts<'a>(rest: &mut &'a [u8], count: usize) -> Result<Vec<Vec<&'a [u8]>>, Damaged> {
    let number = |rest: &mut &[u8], most: usize| {
        let number = take_varint(rest).map_err(|_| Damaged)?;
        let number = usize::try_from(number).map_err(|_| Damaged)?;
        (1..=most)
            .contains(&number)
            .then_some(number)
            .ok_or(Damaged)
    };
    let texts = number(rest, count)?;
    let mut all = Vec::with_capacity(texts);
    for _ in 0..texts {
        let pieces = number(rest, EXTRA_BYTES_MAX + 1)?;
        let text: Result<Vec<_>, _> = (0..pieces).map(|_| take_delimited(rest)).collect();
        all.push(text.map_err(|_| Damaged)?);
    }
    Ok(all)
}

type Gap = std::vec::IntoIter<Number>;

/// The numbers of each text and gap.
fn read_gaps(
    texts: &[Vec<&[u8]>],
    which: &[usize],
    bits: &mut Reader<'_>,
) -> Result<Vec<Vec<Gap>>, Damaged> {
    let mut uses = vec![0; texts.len()];
    which.iter().for_each(|&index| uses[index] += 1);
    let mut all = Vec::with_capacity(texts.len());
    for (text, uses) in texts.iter().zip(uses) {
        let mut gaps = Vec::with_capacity(text.len());
        for _ in 1..text.len() {
            gaps.push(read_numbers(uses, bits)?.into_iter());
        }
        all.push(gaps);
    }
    Ok(all)
}

fn read_numbers(count: usize, bits: &mut Reader<'_>) -> Result<Vec<Number>, Damaged> {
    let code = bits.bits(FORM_BITS)?;
    let column = |bits: &mut Reader<'_>| {
        let mut values = Vec::with_capacity(count);
        column::read(count, bits, &mut values).map(|()| values)
    };
    if code == 2 {
        let decimals = column(bits)?;
        let digits = column(bits)?;
        let pairs = digits.into_iter().zip(decimals);
        let number = |(digits, decimals): (i64, i64)| {
            let decimals = u32::try_from(decimals).map_err(|_| Damaged)?;
            Ok(Number { digits, decimals })
        };
        return pairs.map(number).collect();
    }
    let decimals = u32::try_from(bits.bits(DECIMALS_BITS)?).unwrap_or(0);
    let number = |digits| match code {
        0 => Number { digits, decimals },
        _ => shortest(digits, decimals),
    };
    Ok(column(bits)?.into_iter().map(number).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Time, arrival, latitude, longitude, the rest.
    type Said = (u64, u64, i32, i32, Vec<u8>);

    fn placed(said: &Said) -> Placed<'_> {
        let &(time_ms, arrival, lat_e7, lon_e7, ref extra) = said;
        Placed {
            place: Place { time_ms, arrival },
            point: Point {
                time_ms,
                lat_e7,
                lon_e7,
                extra,
            },
        }
    }

    /// Bytes of the body; what comes back is what went in.
    fn round_trip(said: &[Said]) -> usize {
        let points: Vec<_> = said.iter().map(placed).collect();
        let (mut head, mut body) = (Vec::new(), Vec::new());
        let wanted = Head::of(&points);
        wanted.append(&mut head);
        encode(&points, &mut body);
        assert_eq!(Head::take(&head), Ok((wanted, &[][..])));
        let last = points.last().unwrap().place;
        let mut at = 0;
        let whole = decode(wanted, last, &body, &mut |placed| {
            assert_eq!(placed, points[at]);
            at += 1;
            true
        });
        assert_eq!((whole, at), (Ok(()), points.len()));
        body.len()
    }

    #[test]
    fn a_walk_is_short_and_comes_back() {
        let texts = [
            r#"{"accuracy":4.5}"#,
            r#"{"accuracy":12}"#,
            r#"{"accuracy":3.25,"speed":1.5}"#,
            "",
        ];
        let said: Vec<Said> = (0..400_u32)
            .map(|n| {
                let wave = i32::try_from(n % 17 * 31 % 60).unwrap();
                let (time, north) = (
                    1_700_000_000_000 + u64::from(n) * 1_000,
                    140 * n.cast_signed(),
                );
                let extra = texts[n as usize % 2].as_bytes().to_vec();
                (
                    time,
                    5_000 + u64::from(n),
                    525_200_000 + north + wave,
                    134_000_000 - wave,
                    extra,
                )
            })
            .collect();
        let bytes = round_trip(&said);
        assert!(bytes < 400 * 4, "{bytes}");
        let mixed: Vec<Said> = said
            .iter()
            .enumerate()
            .map(|(n, said)| {
                (
                    said.0,
                    said.1,
                    said.2,
                    said.3,
                    texts[n * n % 4].as_bytes().to_vec(),
                )
            })
            .collect();
        round_trip(&mixed);
        round_trip(&said[..1]);
        let far = (u64::MAX, u64::MAX, i32::MIN, i32::MAX, b"-1".to_vec());
        round_trip(&[(0, 0, i32::MAX, i32::MIN, b"0.10".to_vec()), far]);
    }

    #[test]
    fn a_damaged_head_is_noticed() {
        for head in [
            &[][..],
            &[1],
            &[1, 5],
            &[2, 5, 0],
            &[1, 0, 0],
            &[1, 0x81, 8, 0],
        ] {
            assert_eq!(Head::take(head), Err(Damaged), "{head:?}");
        }
    }

    fn said() -> impl Strategy<Value = Vec<Said>> {
        let number = "-?[0-9]{1,4}(\\.[0-9]{1,3})?";
        let extra = prop_oneof![
            number.prop_map(|n| format!("{{\"accuracy\":{n}}}").into_bytes()),
            (number, number).prop_map(|(a, b)| format!("{{\"a\":{a},\"b\":[{b}]}}").into_bytes()),
            "[0-9.\"]{0,9}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..20),
        ];
        let time = prop_oneof![any::<u64>(), 0..100_000_u64];
        let point = (time, any::<u64>(), any::<i32>(), -100..100, extra);
        prop::collection::vec(point, 1..60).prop_map(|mut points| {
            points.sort();
            points
        })
    }

    proptest! {
        #[test]
        fn any_points_come_back(said in said()) {
            round_trip(&said);
        }

        #[test]
        fn survives_damage(said in said(), hits: Vec<(prop::sample::Index, u8)>, count in 1..=POINTS_MAX) {
            let points: Vec<_> = said.iter().map(placed).collect();
            let mut body = Vec::new();
            encode(&points, &mut body);
            for (at, byte) in hits {
                *at.get_mut(&mut body[..]) = byte;
            }
            let head = Head { count, span_ms: 0 };
            let mut shown = 0;
            let _ = decode(head, Place::at(0), &body, &mut |placed| {
                assert!(placed.point.extra.len() <= EXTRA_BYTES_MAX);
                shown += 1;
                true
            });
            assert!(shown <= count);
        }
    }
}
