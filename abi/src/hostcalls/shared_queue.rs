//! Queues shared across VMs and threads (section 2.9).

use std::sync::Arc;

use bytes::Bytes;

use crate::guest::{self, Failure, GuestCaller, Outcome};
use crate::shared::{Queue, Target};
use crate::state::HostState;
use crate::types::Status;
use crate::vm::RootId;

/// Longest name of a queue.
const MAX_NAME: u32 = 64 << 10;

pub(crate) fn register_shared_queue<C: GuestCaller>(
    caller: &mut C,
    name: u32,
    name_len: u32,
    out: u32,
) -> Outcome {
    guest::charge_bytes(caller, name_len as usize)?;
    let (memory, state) = caller.split();
    let name = guest::bytes(memory, name, name_len)?;
    let queue = if name_len <= MAX_NAME {
        let target = target(state);
        let shared = state.host.shared();
        shared.register_queue(&state.space, name, target)
    } else {
        None
    };
    let Some(queue) = queue else {
        state.notice(format_args!(
            "proxy_register_shared_queue: too many queues, or too long a name"
        ));
        return Err(Status::InternalFailure.into());
    };
    guest::write_u32(memory, out, queue.id())?;
    Ok(())
}

pub(crate) fn resolve_shared_queue<C: GuestCaller>(
    caller: &mut C,
    vm_id: u32,
    vm_id_len: u32,
    name: u32,
    name_len: u32,
    out: u32,
) -> Outcome {
    guest::charge_bytes(caller, vm_id_len.saturating_add(name_len) as usize)?;
    let (memory, state) = caller.split();
    let vm_id = guest::bytes(memory, vm_id, vm_id_len)?;
    let name = guest::bytes(memory, name, name_len)?;
    let queue = if vm_id.is_empty() || vm_id == state.space.vm_id().as_bytes() {
        state.space.queue(name)
    } else {
        // What is no text is no VM id of a configuration.
        let vm_id = str::from_utf8(vm_id).map_err(|_| Status::NotFound)?;
        may_share_with(state, vm_id)?;
        let space = state.host.shared().find(vm_id).ok_or(Status::NotFound)?;
        space.queue(name)
    };
    let queue = queue.ok_or(Status::NotFound)?;
    guest::write_u32(memory, out, queue.id())?;
    Ok(())
}

pub(crate) fn enqueue_shared_queue<C: GuestCaller>(
    caller: &mut C,
    id: u32,
    item: u32,
    item_len: u32,
) -> Outcome {
    guest::charge_bytes(caller, item_len as usize)?;
    let (memory, state) = caller.split();
    let item = guest::bytes(memory, item, item_len)?;
    let queue = queue(state, id)?;
    if !queue.enqueue(Bytes::copy_from_slice(item)) {
        state.notice(format_args!(
            "proxy_enqueue_shared_queue: no room (shared_queues bounds)"
        ));
        return Err(Status::InternalFailure.into());
    }
    Ok(())
}

pub(crate) fn dequeue_shared_queue<C: GuestCaller>(
    caller: &mut C,
    id: u32,
    item: u32,
    item_len: u32,
) -> Outcome {
    let (memory, state) = caller.split();
    let queue = queue(state, id)?;
    // An item that cannot be handed over should stay.
    guest::bytes(memory, item, 4)?;
    guest::bytes(memory, item_len, 4)?;
    let found = queue.dequeue().ok_or(Status::Empty)?;
    guest::give(caller, item, item_len, &found)
}

/// The root that registers is the one to be told.
fn target(state: &mut HostState) -> Option<Target> {
    let (root, _) = state.root()?;
    Some(Target {
        notifier: state.host.queue_notifier()?,
        vm: state.vm,
        root: RootId(root),
    })
}

/// Numbers can be guessed: that a queue is another's is asked for each use of it.
fn queue(state: &HostState, id: u32) -> Result<Arc<Queue>, Failure> {
    let queue = state.host.shared().queue(id).ok_or(Status::NotFound)?;
    if queue.vm_id() != state.space.vm_id() {
        may_share_with(state, queue.vm_id())?;
    }
    Ok(queue)
}

/// Fails unless the guest may use the queues of another VM id.
fn may_share_with(state: &HostState, vm_id: &str) -> Result<(), Failure> {
    if state.settings.capabilities.allows_shared(vm_id.as_bytes()) {
        return Ok(());
    }
    // Not the VM id: what is counted must not grow by what guests make up.
    state.refuse("shared");
    Err(Status::InternalFailure.into())
}
