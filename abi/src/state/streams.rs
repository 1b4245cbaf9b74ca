//! The stream contexts of a VM. They are looked at several times in every callback, so each
//! is found by where it lies, and by its id only where a guest names one.

use super::{IdMap, Stream};
use crate::vm::StreamId;

/// Stream contexts, none of which moves while it lives.
#[derive(Default)]
pub(crate) struct Streams {
    slots: Vec<Option<(u32, Stream)>>,
    free: Vec<u32>,
    /// Where each is, by its id.
    places: IdMap<u32>,
}

// === impl Streams ===

impl Streams {
    /// Adds one under an id that no other has.
    pub(crate) fn insert(&mut self, id: u32, stream: Stream) -> StreamId {
        let stream = Some((id, stream));
        let place = match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = stream;
                place
            }
            None => {
                self.slots.push(stream);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.places.insert(id, place);
        StreamId { id, place }
    }

    /// Removes one; nothing happens if it has gone before.
    pub(crate) fn remove(&mut self, stream: StreamId) {
        if self.at(stream).is_some() {
            self.slots[stream.place as usize] = None;
            self.free.push(stream.place);
            self.places.remove(&stream.id);
        }
    }

    /// The one that is there, unless it has gone.
    pub(crate) fn at(&mut self, stream: StreamId) -> Option<&mut Stream> {
        match self.slots.get_mut(stream.place as usize) {
            Some(Some((id, found))) if *id == stream.id => Some(found),
            _ => None,
        }
    }

    /// Where the one of that id is, if there is one.
    pub(crate) fn find(&self, id: u32) -> Option<StreamId> {
        let place = self.places.get(&id).copied();
        place.map(|place| StreamId { id, place })
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        let found = self.slots.get(*self.places.get(&id)? as usize)?;
        found.as_ref().map(|(_, stream)| stream)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.at(self.find(id)?)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Stream> {
        self.slots.iter().flatten().map(|(_, stream)| stream)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Headers;
    use crate::exchange::Exchange;

    #[test]
    fn a_place_that_is_taken_again_is_not_the_one_that_left() {
        let exchange = Exchange::new(Headers::default(), Box::new(())).share();
        let stream = |root| Stream::new(root, exchange.clone(), 0);
        let mut streams = Streams::default();
        let first = streams.insert(7, stream(1));
        let other = streams.insert(8, stream(2));
        streams.remove(first);
        streams.remove(first);
        let again = streams.insert(9, stream(3));
        assert_eq!(again.place, first.place, "the room is used again");
        assert!(streams.at(first).is_none() && streams.get(7).is_none());
        assert_eq!(streams.at(again).map(|stream| stream.root), Some(3));
        assert_eq!(streams.get_mut(9).map(|stream| stream.root), Some(3));
        assert_eq!(streams.find(8), Some(other));
        // One that has left takes nobody with it.
        streams.remove(first);
        assert_eq!((streams.len(), streams.values().count()), (2, 2));
        streams.remove(again);
        streams.remove(other);
        assert!(streams.is_empty() && streams.values().next().is_none());
    }
}
