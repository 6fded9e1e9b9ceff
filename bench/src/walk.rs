//! People under way with a phone: points of a path as such phones send them, from a seed.
//!
//! A person goes through a city of blocks, on foot, running or by bicycle, straight on or round a corner,
//! waits at lights, and sometimes stands about. The receiver's error wanders: a first-order
//! autoregressive process on each axis, 3 m in size, which forgets itself in 40 s, and 0.15 m of white
//! noise on top. The phone reports once a second beside the second, the accuracy it thinks it has, and
//! sometimes nothing for a while.
//!
//! Nothing is smoothed and nothing is rounded but as phones do it: latitude and longitude to 6 or 7
//! decimals, accuracy and speed to 0.1 or 0.01. [`Walk::entropy_bits`] says what the noise alone costs,
//! so that nobody has to believe a compressor.

use std::f64::consts::{FRAC_PI_2, LN_2, PI, TAU};

use engine::path::{Point, UNITS_PER_DEGREE};

use crate::dice::Dice;

/// Size of the receiver's wandering error on each axis, metres.
const WANDER_M: f64 = 3.0;

/// Seconds in which it forgets itself.
const WANDER_S: f64 = 40.0;

/// Size of the noise on top, metres.
const NOISE_M: f64 = 0.15;

/// Size of the error of a point's time, milliseconds: a report is not made on the second.
const JITTER_MS: f64 = 15.0;

/// Metres of a degree of latitude.
const DEGREE_M: f64 = 111_200.0;

/// How a person moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gait {
    /// 1.4 m/s.
    Walk,
    /// 3 m/s.
    Run,
    /// 5 m/s.
    Cycle,
}

impl Gait {
    fn speed(self) -> f64 {
        match self {
            Gait::Walk => 1.4,
            Gait::Run => 3.0,
            Gait::Cycle => 5.0,
        }
    }
}

/// What a phone says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phone {
    /// Decimals of latitude and longitude, 6 or 7.
    pub decimals: u32,
    /// Speed and heading as well as the accuracy.
    pub tells_speed: bool,
}

/// One person's way.
#[derive(Debug)]
pub struct Walk {
    dice: Dice,
    phone: Phone,
    gait: Gait,
    /// Of the city's origin, degrees.
    lat: f64,
    lon: f64,
    /// Metres from there, and where the person is heading, radians.
    east: f64,
    north: f64,
    heading: f64,
    speed: f64,
    /// Metres to the next corner, seconds to stand still.
    to_corner: f64,
    standing_s: u64,
    /// The receiver's error, metres.
    error: (f64, f64),
    accuracy_m: f64,
    /// Seconds since `start_ms`.
    second: u64,
    start_ms: u64,
}

impl Walk {
    /// A person that starts somewhere in the city at `start_ms`.
    pub fn new(seed: u64, phone: Phone, start_ms: u64) -> Walk {
        let mut dice = Dice::new(seed);
        let gait = match dice.below(10) {
            0..7 => Gait::Walk,
            7 => Gait::Run,
            _ => Gait::Cycle,
        };
        let (east, north) = (dice.unit() * 5_000.0, dice.unit() * 5_000.0);
        // The city's streets lie askew.
        let heading = 0.3 + FRAC_PI_2 * dice.below(4) as f64;
        let error = (WANDER_M * dice.normal(), WANDER_M * dice.normal());
        Walk {
            phone,
            gait,
            lat: 52.5,
            lon: 13.3,
            east,
            north,
            heading,
            speed: gait.speed(),
            to_corner: dice.unit() * 100.0,
            standing_s: 0,
            error,
            accuracy_m: 5.0,
            second: 0,
            start_ms: start_ms + dice.below(1_000),
            dice,
        }
    }

    /// A second passes.
    fn step(&mut self) {
        self.second += 1;
        // Paces wander about the usual one; a stop ends from one second to the next.
        let usual = self.gait.speed();
        self.speed += 0.1 * (usual - self.speed) + 0.07 * usual * self.dice.normal();
        self.speed = self.speed.clamp(0.2 * usual, 1.8 * usual);
        if self.standing_s > 0 {
            self.standing_s -= 1;
        } else {
            // Nobody walks along a ruler.
            let way = self.heading + 0.04 * self.dice.normal();
            self.east += self.speed * way.sin();
            self.north += self.speed * way.cos();
            self.to_corner -= self.speed;
            if self.to_corner <= 0.0 {
                self.corner();
            }
            if self.dice.hit(0.05) {
                self.standing_s = 60 + self.dice.below(240);
            }
        }
        let keep = (-1.0 / WANDER_S).exp();
        let fresh = WANDER_M * (1.0 - keep * keep).sqrt();
        self.error.0 = keep * self.error.0 + fresh * self.dice.normal();
        self.error.1 = keep * self.error.1 + fresh * self.dice.normal();
        self.accuracy_m += 0.02 * (5.0 - self.accuracy_m) + 0.25 * self.dice.normal();
        self.accuracy_m = self.accuracy_m.max(2.0);
    }

    /// Half go straight on, some wait for the light.
    fn corner(&mut self) {
        self.to_corner += 80.0 + self.dice.unit() * 40.0;
        match self.dice.below(4) {
            0 => self.heading += FRAC_PI_2,
            1 => self.heading -= FRAC_PI_2,
            _ => {}
        }
        if self.dice.hit(25.0) {
            self.standing_s = 5 + self.dice.below(36);
        }
    }

    /// The next point; `extra` gets what it says besides place and time.
    pub fn next<'a>(&mut self, extra: &'a mut Vec<u8>) -> Point<'a> {
        use std::io::Write;
        self.step();
        if self.dice.hit(0.2) {
            // A tunnel, or the phone in a pocket.
            (0..10 + self.dice.below(110)).for_each(|_| self.step());
        }
        let jitter = JITTER_MS * self.dice.normal();
        let time = (self.start_ms + self.second * 1_000) as f64 + jitter;
        let north = self.north + self.error.1 + NOISE_M * self.dice.normal();
        let east = self.east + self.error.0 + NOISE_M * self.dice.normal();
        let lat = self.lat + north / DEGREE_M;
        let lon = self.lon + east / (DEGREE_M * (self.lat * PI / 180.0).cos());
        let accuracy = (self.accuracy_m * 10.0).round() / 10.0;
        extra.clear();
        let written = if self.phone.tells_speed {
            let still = self.standing_s > 0;
            let speed = if still { 0.0 } else { self.speed };
            let speed = ((speed + 0.1 * self.dice.normal()).abs() * 100.0).round() / 100.0;
            let heading = self.heading + 0.1 * self.dice.normal();
            let heading = (heading.rem_euclid(TAU) * 1_800.0 / PI).round() / 10.0;
            write!(
                extra,
                r#"{{"accuracy":{accuracy},"speed":{speed},"heading":{heading}}}"#
            )
        } else {
            write!(extra, r#"{{"accuracy":{accuracy}}}"#)
        };
        debug_assert!(written.is_ok(), "a vector takes everything");
        Point {
            time_ms: whole(time).unsigned_abs(),
            lat_e7: self.units(lat),
            lon_e7: self.units(lon),
            extra,
        }
    }

    /// Degrees as the phone writes them.
    fn units(&self, degrees: f64) -> i32 {
        let coarse = 10_i64.pow(7 - self.phone.decimals);
        let units = whole(degrees * UNITS_PER_DEGREE / coarse as f64) * coarse;
        i32::try_from(units).unwrap_or(0)
    }

    /// What noise alone costs: bits of a point that nobody can expect, however well they know the walk
    /// (differential entropy of a normal distribution of the error's innovation, over the steps the phone
    /// rounds to). Time, latitude, longitude and accuracy; the walker's own freedom is not in it.
    pub fn entropy_bits(phone: Phone) -> [f64; 4] {
        let normal =
            |size: f64, step: f64| (size / step * (TAU * std::f64::consts::E).sqrt()).ln() / LN_2;
        let keep = (-1.0 / WANDER_S).exp();
        let fresh = WANDER_M * (1.0 - keep * keep).sqrt();
        // White noise on top of a wandering error: what a Kalman filter in its steady state is left with.
        let mut unknown = fresh * fresh;
        for _ in 0..1_000 {
            let gain = unknown / (unknown + NOISE_M * NOISE_M);
            unknown = keep * keep * unknown * (1.0 - gain) + fresh * fresh;
        }
        let error = (unknown + NOISE_M * NOISE_M).sqrt();
        let step = DEGREE_M / 10_f64.powi(i32::try_from(phone.decimals).unwrap_or(7));
        let narrow = (52.5 * PI / 180.0).cos();
        [
            normal(JITTER_MS, 1.0),
            normal(error, step),
            normal(error, step * narrow),
            normal(0.25, 0.1),
        ]
    }
}

/// The nearest whole number.
#[allow(
    clippy::cast_possible_truncation,
    reason = "degrees and times fit by far"
)]
fn whole(number: f64) -> i64 {
    number.round() as i64
}
