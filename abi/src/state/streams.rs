//! The stream contexts of a VM. They are looked at several times in every callback, so each
//! is found by where it lies, and by its id only where a guest names one.

use super::Stream;
use crate::vm::StreamId;

/// Stream contexts, none of which moves while it lives.
#[derive(Default)]
pub(crate) struct Streams {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// For ids with these last bits in common, where the first of them is: a power of two of
    /// them, and no fewer than slots. Ids are handed out one after the other, so that hardly
    /// two share one.
    first: Vec<u32>,
}

/// Room for one.
struct Slot {
    id: u32,
    /// Where the next is whose id has the same last bits.
    next: u32,
    stream: Option<Stream>,
}

/// Behind the last of a chain.
const NONE: u32 = u32::MAX;
/// Fewer chains are not worth growing.
const FEWEST: usize = 16;

// === impl Streams ===

impl Streams {
    /// Adds one under an id that no other has.
    pub(crate) fn insert(&mut self, id: u32, stream: Stream) -> StreamId {
        let place = self.free.pop().unwrap_or_else(|| self.grow());
        let slot = &mut self.slots[place as usize];
        slot.id = id;
        slot.stream = Some(stream);
        self.chain(place);
        StreamId { id, place }
    }

    /// Removes one; nothing happens if it has gone before.
    pub(crate) fn remove(&mut self, stream: StreamId) {
        if self.at(stream).is_none() {
            return;
        }
        self.unchain(stream);
        self.slots[stream.place as usize].stream = None;
        self.free.push(stream.place);
    }

    /// The one that is there, unless it has gone.
    #[inline]
    pub(crate) fn at(&mut self, stream: StreamId) -> Option<&mut Stream> {
        match self.slots.get_mut(stream.place as usize) {
            Some(slot) if slot.id == stream.id => slot.stream.as_mut(),
            _ => None,
        }
    }

    /// Where the one of that id is, if there is one.
    pub(crate) fn find(&self, id: u32) -> Option<StreamId> {
        let mut place = *self.first.get(self.last_bits(id))?;
        while let Some(slot) = self.slots.get(place as usize) {
            if slot.id == id {
                return Some(StreamId { id, place });
            }
            place = slot.next;
        }
        None
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Stream> {
        let found = self.find(id)?;
        self.slots[found.place as usize].stream.as_ref()
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Stream> {
        self.at(self.find(id)?)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Stream> {
        self.slots.iter().filter_map(|slot| slot.stream.as_ref())
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Another slot; the caller takes it.
    #[cold]
    fn grow(&mut self) -> u32 {
        let place = u32::try_from(self.slots.len()).unwrap_or(NONE);
        self.slots.push(Slot {
            id: 0,
            next: NONE,
            stream: None,
        });
        if self.slots.len() > self.first.len() {
            let chains = self.slots.len().next_power_of_two().max(FEWEST);
            self.first.clear();
            self.first.resize(chains, NONE);
            // All others are taken, or somebody would have had one of them.
            (0..place).for_each(|place| self.chain(place));
        }
        place
    }

    fn chain(&mut self, place: u32) {
        let slot = &mut self.slots[place as usize];
        let last_bits = slot.id as usize & (self.first.len() - 1);
        slot.next = std::mem::replace(&mut self.first[last_bits], place);
    }

    fn unchain(&mut self, stream: StreamId) {
        let after = self.slots[stream.place as usize].next;
        let last_bits = self.last_bits(stream.id);
        let mut place = self.first[last_bits];
        if place == stream.place {
            self.first[last_bits] = after;
            return;
        }
        while let Some(slot) = self.slots.get_mut(place as usize) {
            if slot.next == stream.place {
                slot.next = after;
                return;
            }
            place = slot.next;
        }
    }

    const fn last_bits(&self, id: u32) -> usize {
        id as usize & self.first.len().wrapping_sub(1)
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

    #[test]
    fn each_is_found_by_its_id_whichever_have_gone() {
        let exchange = Exchange::new(Headers::default(), Box::new(())).share();
        let mut streams = Streams::default();
        let mut live = Vec::new();
        for id in 1..2_000 {
            // Every seventh id, and then every 64th: those share their last bits.
            let id = if id < 1_000 { id * 7 } else { id * 64 };
            live.push(streams.insert(id, Stream::new(id, exchange.clone(), 0)));
            if id % 3 == 0 {
                let index = (id as usize * 31) % live.len();
                streams.remove(live.swap_remove(index));
            }
            assert_eq!(streams.len(), live.len());
        }
        for stream in &live {
            assert_eq!(streams.find(stream.id), Some(*stream));
            let root = streams.get(stream.id).map(|stream| stream.root);
            assert_eq!(root, Some(stream.id));
        }
        assert_eq!(streams.find(3), None);
        while let Some(stream) = live.pop() {
            streams.remove(stream);
            assert_eq!(streams.find(stream.id), None);
        }
        assert!(streams.is_empty());
    }
}
