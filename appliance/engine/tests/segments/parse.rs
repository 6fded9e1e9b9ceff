//! The text of a script to cases and steps. Errors say the line and what was expected there.

use engine::tcp::CloseReason;
use engine::units::Micros;
use engine::wire::segment::Flags;

/// One test.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) title: String,
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) steps: Vec<Step>,
}

/// One line.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) text: String,
    /// When, counted from the step before; for what is expected: the earliest.
    pub(crate) from: Micros,
    /// For what is expected: the latest, if a range was written.
    pub(crate) to: Option<Micros>,
    /// In one batch with the step before: the core does not send in between.
    pub(crate) joined: bool,
    pub(crate) action: Action,
}

/// What a step does or expects.
#[derive(Debug)]
pub(crate) enum Action {
    /// A segment from the peer.
    In(Shape),
    /// A segment from the engine.
    Out(Shape),
    /// The three-way handshake.
    Connect {
        round_trip: Micros,
        window: u16,
        options: Written,
    },
    Place(u32),
    Finish,
    Abort,
    Backlog(u32),
    Room(Option<usize>),
    /// A router's report: of which number, and what the next link carries.
    TooBig(i64, u32),
    Peer(u16, bool),
    Renumber(i64),
    /// Nothing is sent until now.
    Nothing,
    Opened,
    Read(usize),
    Finished,
    Closed(CloseReason),
    Empty,
    Connections(usize),
    TimeWait(u32),
    Pieces(usize),
    Outstanding(u32),
    Sendable(u32),
    Count(String, u64),
}

/// A segment as it is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shape {
    pub(crate) flags: Flags,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Written `from:to/step`: a run of segments of so many bytes.
    pub(crate) step: Option<u32>,
    pub(crate) ack: Option<i64>,
    pub(crate) window: Option<u16>,
    pub(crate) options: Option<Written>,
}

/// Options as they are written; numbers as in the script.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// `<*>`.
    pub(crate) any: bool,
    /// `<nots>`.
    pub(crate) no_timestamps: bool,
    pub(crate) mss: Option<u16>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    /// Value and echo; none is `*`.
    pub(crate) timestamps: Option<(Option<i64>, Option<i64>)>,
    pub(crate) sacks: Vec<(i64, i64)>,
}

/// All cases of a file.
pub(crate) fn cases(text: &str) -> Result<Vec<Case>, String> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let line = line.split('#').next().unwrap_or_default().trim();
        let wrong = |what: String| format!("{number}: {what}\n    {line}");
        if line.is_empty() {
            continue;
        }
        if let Some(title) = line.strip_prefix("==") {
            let title = title.trim().to_owned();
            if !title.contains("RFC ") && !title.contains("CVE-") {
                return Err(wrong("the title names no RFC".to_owned()));
            }
            cases.push(Case {
                line: number,
                title,
                settings: Vec::new(),
                steps: Vec::new(),
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            return Err(wrong(
                "a case begins with `== RFC nnnn section: what`".to_owned(),
            ));
        };
        if let Some(setting) = line.strip_prefix("set ") {
            let (key, value) = setting
                .trim()
                .split_once(' ')
                .ok_or_else(|| wrong("set KEY VALUE".to_owned()))?;
            case.settings
                .push((key.to_owned(), value.trim().to_owned()));
            continue;
        }
        let step = step(number, line).map_err(wrong)?;
        case.steps.push(step);
    }
    Ok(cases)
}

fn step(line: usize, text: &str) -> Result<Step, String> {
    let mut words = Words { rest: text };
    let mut step = Step {
        line,
        text: text.to_owned(),
        from: Micros(0),
        to: None,
        joined: false,
        action: Action::Nothing,
    };
    if words.rest.starts_with('&') {
        words.next();
        step.joined = true;
    } else if let Some(time) = words.rest.strip_prefix('+') {
        let end = time.find(' ').unwrap_or(time.len());
        let (time, rest) = time.split_at(end);
        words.rest = rest.trim_start();
        let (from, to) = match time.split_once('~') {
            Some((from, to)) => (from, Some(to)),
            None => (time, None),
        };
        step.from = seconds(from)?;
        step.to = to.map(seconds).transpose()?;
    }
    step.action = action(&mut words)?;
    if !words.rest.is_empty() {
        return Err(format!("`{}` is too much", words.rest));
    }
    if step.to.is_some() && !matches!(step.action, Action::Out(_)) {
        return Err("a range of time is only for what is expected".to_owned());
    }
    Ok(step)
}

fn action(words: &mut Words<'_>) -> Result<Action, String> {
    let word = words.next();
    Ok(match word {
        "<" => Action::In(shape(words)?),
        ">" => Action::Out(shape(words)?),
        "connect" => connect(words)?,
        "place" => Action::Place(words.number()?),
        "finish" => Action::Finish,
        "abort" => Action::Abort,
        "backlog" => Action::Backlog(words.number()?),
        "room" => match words.next() {
            "*" => Action::Room(None),
            count => Action::Room(Some(number(count)?)),
        },
        "too_big" => {
            let seq = words.number()?;
            if !words.take("mtu") {
                return Err("too_big SEQ mtu N".to_owned());
            }
            Action::TooBig(seq, words.number()?)
        }
        "peer" => {
            let v6 = words.take("v6");
            Action::Peer(words.number()?, v6)
        }
        "renumber" => Action::Renumber(words.number()?),
        "nothing" => Action::Nothing,
        "opened" => Action::Opened,
        "read" => Action::Read(words.number()?),
        "finished" => Action::Finished,
        "closed" => Action::Closed(match words.next() {
            "finished" => CloseReason::Finished,
            "reset" => CloseReason::Reset,
            "timed_out" => CloseReason::TimedOut,
            other => {
                return Err(format!(
                    "closed finished, reset or timed_out, not `{other}`"
                ));
            }
        }),
        "empty" => Action::Empty,
        "connections" => Action::Connections(words.number()?),
        "time_wait" => Action::TimeWait(words.number()?),
        "pieces" => Action::Pieces(words.number()?),
        "outstanding" => Action::Outstanding(words.number()?),
        "sendable" => Action::Sendable(words.number()?),
        "count" => Action::Count(words.next().to_owned(), words.number()?),
        other => return Err(format!("`{other}` is nothing a step begins with")),
    })
}

/// `connect [rtt SECONDS] [win N] [<options>]`.
fn connect(words: &mut Words<'_>) -> Result<Action, String> {
    let round_trip = if words.take("rtt") {
        seconds(words.next())?
    } else {
        Micros(0)
    };
    let window = if words.take("win") {
        words.number()?
    } else {
        65_535
    };
    let options = options(words)?.unwrap_or_else(|| Written {
        mss: Some(1000),
        sack_permitted: true,
        ..Written::default()
    });
    Ok(Action::Connect {
        round_trip,
        window,
        options,
    })
}

/// `[ect|ce] FLAGS FROM[:TO[/STEP]] [ack N] [win N] [<options>]`.
fn shape(words: &mut Words<'_>) -> Result<Shape, String> {
    let ce = words.take("ce");
    let ect = words.take("ect");
    let flags = Flags {
        ce,
        ect,
        ..flags(words.next())?
    };
    let place = words.next();
    let (range, step) = match place.split_once('/') {
        Some((range, step)) => (range, Some(number(step)?)),
        None => (place, None),
    };
    let (from, to) = range.split_once(':').unwrap_or((range, range));
    let mut shape = Shape {
        flags,
        from: number(from)?,
        to: number(to)?,
        step,
        ..Shape::default()
    };
    if shape.to < shape.from {
        return Err(format!("`{range}` ends before it begins"));
    }
    if words.take("ack") {
        shape.ack = Some(words.number()?);
    }
    if words.take("win") {
        shape.window = Some(words.number()?);
    }
    shape.options = options(words)?;
    Ok(shape)
}

fn flags(word: &str) -> Result<Flags, String> {
    let mut flags = Flags::default();
    for letter in word.chars() {
        match letter {
            'S' => flags.syn = true,
            'F' => flags.fin = true,
            'R' => flags.rst = true,
            'P' => flags.psh = true,
            'E' => flags.ece = true,
            'W' => flags.cwr = true,
            '.' => flags.ack = true,
            '-' => {}
            other => return Err(format!("`{other}` is no flag: S F R P E W . or - for none")),
        }
    }
    Ok(flags)
}

/// `<mss N,wscale N,sackOK,ts VALUE ECHO,sack FROM:TO FROM:TO>`, `<*>` for any, `<nots>`.
fn options(words: &mut Words<'_>) -> Result<Option<Written>, String> {
    let Some(rest) = words.rest.strip_prefix('<') else {
        return Ok(None);
    };
    let (inside, rest) = rest.split_once('>').ok_or("`<` without `>`")?;
    words.rest = rest.trim_start();
    let mut written = Written::default();
    for option in inside
        .split(',')
        .map(str::trim)
        .filter(|option| !option.is_empty())
    {
        let mut words = Words { rest: option };
        match words.next() {
            "*" => written.any = true,
            "nots" => written.no_timestamps = true,
            "mss" => written.mss = Some(words.number()?),
            "wscale" => written.scale = Some(words.number()?),
            "sackOK" => written.sack_permitted = true,
            "ts" => written.timestamps = Some((starred(words.next())?, starred(words.next())?)),
            "sack" | "dsack" => {
                while !words.rest.is_empty() {
                    let block = words.next();
                    let (from, to) = block.split_once(':').ok_or("a SACK block is FROM:TO")?;
                    written.sacks.push((number(from)?, number(to)?));
                }
            }
            other => return Err(format!("`{other}` is no option")),
        }
        if !words.rest.is_empty() {
            return Err(format!("`{}` is too much", words.rest));
        }
    }
    Ok(Some(written))
}

fn starred(word: &str) -> Result<Option<i64>, String> {
    if word == "*" {
        Ok(None)
    } else {
        number(word).map(Some)
    }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.replace('_', "")
        .parse()
        .map_err(|_| format!("`{word}` is no number that fits here"))
}

fn seconds(word: &str) -> Result<Micros, String> {
    let seconds: f64 = number(word)?;
    Ok(Micros((seconds * 1e6).round() as u64))
}

/// The words of a line.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn next(&mut self) -> &'a str {
        let end = self.rest.find(' ').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    /// Takes `word` if it is the next one.
    fn take(&mut self, word: &str) -> bool {
        let mut ahead = Words { rest: self.rest };
        let is = ahead.next() == word;
        if is {
            self.rest = ahead.rest;
        }
        is
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T, String> {
        number(self.next())
    }
}
