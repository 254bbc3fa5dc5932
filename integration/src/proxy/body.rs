//! The answer's body on its way to the client: shaped, counted, perhaps spoilt.

use std::{future::pending, io, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream::unfold};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{State, fault::Fault, log::Entry};

/// The grain in which connections share the link: 1.3 ms at 100 Mbit/s.
const SLICE: usize = 16 << 10;

/// Where a body is.
pub(super) struct Body {
    state: Arc<State>,
    entry: Arc<Entry>,
    incoming: Incoming,
    /// Received from the registry, not yet sent.
    rest: Bytes,
    /// Bytes sent so far.
    sent: u64,
    /// The blob's offset of the body's first byte.
    base: u64,
    fault: Option<Fault>,
}

impl Body {
    pub(super) fn new(
        state: Arc<State>,
        entry: Arc<Entry>,
        incoming: Incoming,
        base: u64,
        fault: Option<Fault>,
    ) -> Self {
        Self { state, entry, incoming, rest: Bytes::new(), sent: 0, base, fault }
    }

    pub(super) fn into_stream(self) -> impl Stream<Item = io::Result<Bytes>> {
        unfold(Some(self), |body| async {
            let mut body = body?;
            match body.next().await {
                Ok(Some(slice)) => Some((Ok(slice), Some(body))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.rest.is_empty() {
            match self.incoming.frame().await {
                None => return Ok(None),
                Some(frame) => self.rest = frame.map_err(io::Error::other)?.into_data().unwrap_or_default(),
            }
        }
        let mut size = self.rest.len().min(SLICE);
        match self.fault {
            Some(Fault::CutAfter(limit) | Fault::StallAfter(limit)) if self.sent >= limit => {
                return self.end().await;
            }
            Some(Fault::CutAfter(limit) | Fault::StallAfter(limit)) => {
                size = usize::try_from(limit - self.sent).map_or(size, |left| left.min(size));
            }
            _ => {}
        }
        let slice = self.spoil(self.rest.slice(..size));
        self.rest = self.rest.slice(size..);
        self.state.link.carry(size).await;
        self.sent += u64::try_from(size).unwrap_or_default();
        self.entry.sent(size);
        Ok(Some(slice))
    }

    /// An error makes hyper close the connection: the client sees a body that is too short.
    async fn end(&self) -> io::Result<Option<Bytes>> {
        match self.fault {
            Some(Fault::StallAfter(_)) => pending().await,
            _ => Err(io::Error::other("cut by a test")),
        }
    }

    fn spoil(&self, slice: Bytes) -> Bytes {
        let Some(Fault::Corrupt(offset)) = self.fault else { return slice };
        let start = self.base + self.sent;
        let place = offset.checked_sub(start).and_then(|place| usize::try_from(place).ok());
        match place.filter(|place| *place < slice.len()) {
            None => slice,
            Some(place) => {
                let mut bytes = BytesMut::from(&slice[..]);
                bytes[place] = !bytes[place];
                bytes.freeze()
            }
        }
    }
}
