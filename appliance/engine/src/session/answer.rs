//! The journal's answers to commands that waited for it.

use crate::ring::broadcast::{Record, Refusal};
use crate::session::codec::Reply;
use crate::session::codes::Error;
use crate::session::player::Phase;
use crate::session::{Purpose, Road, Sessions};
use crate::units::ConnId;

impl Sessions {
    /// Takes an answer of the broadcast ring; events are not for here. The hunt's name comes from
    /// the answer, because the player's command is long gone.
    pub fn on_record(&mut self, road: &mut Road<'_>, record: &Record<'_>) {
        let token = match record {
            Record::Subscribed(answer) => answer.token,
            Record::Published(answer) => answer.token,
            Record::History(answer) => answer.token,
            Record::Refused { token, .. } => *token,
            Record::Presence(answer) => answer.token,
            Record::Tell(relay) => return self.on_tell(road, relay),
            Record::Done { token } => *token,
            // For the control core alone.
            Record::Channels(_) | Record::Path(_) => return,
            Record::Event(_) | Record::Movement(_) => return,
        };
        let Some(mut pending) = self.pending.remove(ConnId::from_bits(token)) else {
            return;
        };
        if let Some(wanted) = pending.purpose.wanted() {
            self.pages_asked -= usize::from(wanted.page_of.is_some());
            return self.on_stand(road, pending, record);
        }
        let (id, number) = (pending.conn, pending.command);
        let purpose = match pending.purpose {
            // Not a command of the player's.
            Purpose::Page(page) => return self.on_page(road, id, token, page, record),
            purpose => purpose,
        };
        let Some(player) = self.player(id) else {
            return;
        };
        player.pending -= 1;
        if player.phase == Phase::Closing {
            return;
        }
        match (record, purpose) {
            (Record::Published(_), Purpose::Publish) => {
                self.reply(road, id, number, Reply::Publish);
            }
            (Record::Done { .. }, Purpose::Rpc) => {
                self.reply(road, id, number, Reply::Rpc { data: b"{}" });
            }
            (Record::History(page), Purpose::History) => {
                self.on_history_page(road, id, number, page);
            }
            (Record::Presence(page), Purpose::Presence(want)) => {
                self.on_present(road, id, number, want, page);
            }
            (Record::Refused { refusal, .. }, _) => {
                self.refuse(road, id, number, error_of(*refusal));
            }
            _ => self.refuse(road, id, number, Error::Internal),
        }
        self.resume(road, id);
    }
}

pub(super) fn error_of(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unavailable => Error::Internal,
        Refusal::BadRequest => Error::BadRequest,
        Refusal::UnrecoverablePosition => Error::UnrecoverablePosition,
        Refusal::LimitExceeded => Error::LimitExceeded,
        Refusal::Busy => Error::TooManyRequests,
    }
}
