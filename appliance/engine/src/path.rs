//! A player's path: points in time, as they travel through the rings and lie in the store.
//!
//! Data cores make them from what players send (`session::position`), the journal core keeps them
//! (`journal::path`), the admin API reads them back. Latitude and longitude are fixed point (WGS 84,
//! 1e-7 degrees, some 11 mm), so that what comes back is what was sent.
//!
//! A path lies in two parts. New points are rows of its tail, one row a message, in the order of their
//! arrival; a tail is short and read whole. Older ones are in blocks ([`block`]), whose keys sort by user
//! and the place of their last point, so that a range of time is one seek.

mod bits;
pub mod block;
mod column;
mod template;

use crate::protobuf;

/// Points that one message brings at most.
pub const POINTS_MAX: usize = 100;

/// Bytes of what a point may say besides place and time.
pub const EXTRA_BYTES_MAX: usize = 512;

/// Longest user id that has a path, in bytes: its length is one byte of the key.
pub const USER_BYTES_MAX: usize = 255;

/// Points of one page of a path at most.
pub const PAGE_POINTS_MAX: usize = 1_000;

/// Units of a degree.
pub const UNITS_PER_DEGREE: f64 = 1e7;

/// Bytes of a [`Place`] in a key.
const PLACE_BYTES: usize = 16;

/// Longest point in a list: fixed fields, length prefix, extra.
const POINT_BYTES_MAX: usize = 16 + 2 + EXTRA_BYTES_MAX;

// A full message fits a submission, a full page fits a record.
const _: () = assert!(
    POINTS_MAX * POINT_BYTES_MAX + USER_BYTES_MAX + 64 <= crate::ring::submit::SUBMISSION_BYTES_MAX
);
const _: () = assert!(PAGE_POINTS_MAX * POINT_BYTES_MAX <= crate::ring::broadcast::PAGE_BYTES_MAX);

/// Where and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Point<'a> {
    /// Milliseconds since 1970; on the way to the journal 0 stands for the time of its arrival there.
    pub time_ms: u64,
    /// Latitude in 1e-7 degrees, -900,000,000 to 900,000,000.
    pub lat_e7: i32,
    /// Longitude in 1e-7 degrees, -1,800,000,000 to 1,800,000,000.
    pub lon_e7: i32,
    /// What else it says: a JSON object in one line without `lat`, `lon` and `t`, or empty.
    pub extra: &'a [u8],
}

impl<'a> Point<'a> {
    /// Appends the point to a list of points, which is also what a row of a tail is.
    pub fn append(&self, list: &mut Vec<u8>) {
        protobuf::append_filled(list, |out| {
            out.extend_from_slice(&self.time_ms.to_be_bytes());
            out.extend_from_slice(&self.lat_e7.to_be_bytes());
            out.extend_from_slice(&self.lon_e7.to_be_bytes());
            out.extend_from_slice(self.extra);
        });
    }

    /// Bytes that [`Self::append`] appends.
    pub fn list_bytes(&self) -> usize {
        let entry = 16 + self.extra.len();
        entry + if entry < 0x80 { 1 } else { 2 }
    }

    fn parse(entry: &'a [u8]) -> Option<Point<'a>> {
        let (time_ms, rest) = entry.split_first_chunk()?;
        let (lat_e7, rest) = rest.split_first_chunk()?;
        let (lon_e7, extra) = rest.split_first_chunk()?;
        Some(Point {
            time_ms: u64::from_be_bytes(*time_ms),
            lat_e7: i32::from_be_bytes(*lat_e7),
            lon_e7: i32::from_be_bytes(*lon_e7),
            extra,
        })
    }

    /// The points of a list, up to the first damaged one.
    pub fn list(list: &'a [u8]) -> impl Iterator<Item = Point<'a>> {
        protobuf::delimited(list).map_while(Point::parse)
    }

    /// Latitude and longitude in degrees.
    pub fn degrees(&self) -> (f64, f64) {
        let degrees = |units: i32| f64::from(units) / UNITS_PER_DEGREE;
        (degrees(self.lat_e7), degrees(self.lon_e7))
    }
}

/// Where a point stands in its user's path.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Place {
    /// Its time.
    pub time_ms: u64,
    /// Rises with every point that the journal takes: points of one time stand as they came.
    pub arrival: u64,
}

impl Place {
    /// Before every point of `time_ms`.
    pub const fn at(time_ms: u64) -> Place {
        Place {
            time_ms,
            arrival: 0,
        }
    }

    /// The next place there may be.
    pub const fn next(self) -> Place {
        Place {
            time_ms: self.time_ms,
            arrival: self.arrival.saturating_add(1),
        }
    }

    /// Appends the key of the block of `user`'s path that ends here.
    pub fn append_key(self, user: &str, out: &mut Vec<u8>) {
        append_user(user, out);
        out.extend_from_slice(&self.time_ms.to_be_bytes());
        out.extend_from_slice(&self.arrival.to_be_bytes());
    }

    /// Takes a block's key apart: what stands for the user, and the place of the last point. None if it
    /// is damaged.
    pub fn from_key(key: &[u8]) -> Option<(&[u8], Place)> {
        let (user, place) = key.split_at(key.len().checked_sub(PLACE_BYTES)?);
        let (time_ms, arrival) = place.split_first_chunk()?;
        let place = Place {
            time_ms: u64::from_be_bytes(*time_ms),
            arrival: u64::from_be_bytes(arrival.try_into().ok()?),
        };
        Some((user, place))
    }
}

/// Appends what stands for `user`, who has an id of [`USER_BYTES_MAX`] at most, in front of its keys:
/// nobody else's keys begin so.
pub fn append_user(user: &str, out: &mut Vec<u8>) {
    debug_assert!(user.len() <= USER_BYTES_MAX, "checked before");
    out.push(u8::try_from(user.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(user.as_bytes());
}

/// Appends the key of the row of `user`'s tail whose first point is the `arrival`th.
pub fn append_row_key(user: &str, arrival: u64, out: &mut Vec<u8>) {
    append_user(user, out);
    out.extend_from_slice(&arrival.to_be_bytes());
}

/// Takes a row's key apart: what stands for the user, and the arrival of its first point. None if it is
/// damaged.
pub fn from_row_key(key: &[u8]) -> Option<(&[u8], u64)> {
    let (user, arrival) = key.split_last_chunk()?;
    Some((user, u64::from_be_bytes(*arrival)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str, time_ms: u64, arrival: u64) -> Vec<u8> {
        let mut key = Vec::new();
        Place { time_ms, arrival }.append_key(user, &mut key);
        key
    }

    #[test]
    fn a_users_path_is_one_run_in_order_of_time() {
        // One user's id is another's beginning, or looks like a key.
        let longest = "x".repeat(USER_BYTES_MAX);
        for users in [["a", "ab"], ["a", "a\0"], ["", "a"], ["ann", &longest]] {
            let mut keys: Vec<(Vec<u8>, &str, u64, u64)> = Vec::new();
            for user in users {
                for (time, arrival) in [(0, 0), (1, 5), (255, 1), (256, 0), (256, 1), (u64::MAX, 0)]
                {
                    keys.push((key(user, time, arrival), user, time, arrival));
                }
            }
            let wanted = keys.clone();
            keys.sort();
            assert_eq!(keys, wanted);
            let (user, place) = Place::from_key(&keys[7].0).unwrap();
            assert_eq!(user.get(1..), Some(users[1].as_bytes()));
            assert_eq!((place.time_ms, place.arrival), (1, 5));
        }
        assert_eq!(Place::from_key(&[0; 15]), None);
        let mut row = Vec::new();
        append_row_key("ann", 77, &mut row);
        assert_eq!(from_row_key(&row), Some((&b"\x03ann"[..], 77)));
        assert_eq!(from_row_key(&[0; 7]), None);
    }

    #[test]
    fn points_come_back_from_a_list() {
        let extra = br#"{"a":1}"#;
        let points = [
            Point::default(),
            Point {
                time_ms: u64::MAX,
                lat_e7: -900_000_000,
                lon_e7: 1_800_000_000,
                extra,
            },
        ];
        let mut list = Vec::new();
        points.iter().for_each(|point| point.append(&mut list));
        assert_eq!(Point::list(&list).collect::<Vec<_>>(), points);
        assert_eq!(Point::list(&list[..list.len() - 1]).count(), 1);
        assert_eq!(points[1].degrees(), (-90.0, 180.0));
        assert_eq!(Point::list(b"\x0f0123456789abcde").count(), 0);
    }
}
