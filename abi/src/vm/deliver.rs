//! What came of callouts, handed to the roots that asked (sections 6.8, 6.9, 13).
//!
//! A token that is not there (any more) is no error: the guest has cancelled it, or its
//! root has gone.

use bytes::Bytes;

use super::{RootId, Vm, length};
use crate::callbacks::Callback;
use crate::callout::{BROKEN_CONNECTION, GrpcEvent, HttpOutcome, Token, TokenKind, Told};
use crate::error::Trap;
use crate::headers::Headers;
use crate::state::{Content, Delivery};
use crate::window::Window;

/// gRPC's INTERNAL: a call that ended well without an answer.
const GRPC_INTERNAL: u32 = 13;

// === impl Vm ===

impl Vm {
    /// `proxy_on_http_call_response`: the end of an HTTP callout.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn http_call_response(&mut self, token: Token, outcome: HttpOutcome) -> Result<(), Trap> {
        let state = self.state();
        let Some(live) = of_kind(token, TokenKind::Http).and_then(|()| state.callouts.close(token))
        else {
            return Ok(());
        };
        let Told { content, failure } =
            Told::new(outcome, state.settings.compat.callout_failure_headers);
        let [headers, body, trailers] = match &content {
            Some(Content::Response(headers, body, trailers)) => [
                entries(headers),
                length(body),
                trailers.as_ref().map_or(0, entries),
            ],
            _ => [0; 3],
        };
        // Where Envoy answers itself it leaves the status alone. Ours is there for the
        // callback only: it must not look, for ever after, as if later calls had failed.
        let stays = content.is_none();
        let before = failure.map(|reason| self.set_status(live.root, BROKEN_CONNECTION, reason));
        let args = [live.root, token.number(), headers, body, trailers];
        let told = self.deliver(Callback::HttpCallResponse, args, content);
        if let Some(before) = before {
            let code = if stays { BROKEN_CONNECTION } else { before };
            self.set_status(live.root, code, Bytes::new());
        }
        told
    }

    /// What happened to a gRPC call or stream.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn grpc_event(&mut self, token: Token, event: GrpcEvent) -> Result<(), Trap> {
        match token.kind() {
            TokenKind::GrpcCall => self.grpc_call_event(token, event),
            TokenKind::GrpcStream => self.grpc_stream_event(token, event),
            TokenKind::Http | TokenKind::Redis => Ok(()),
        }
    }

    /// A call's guest hears once: of the one message, or of the failure.
    fn grpc_call_event(&mut self, token: Token, event: GrpcEvent) -> Result<(), Trap> {
        let callouts = &mut self.state().callouts;
        match event {
            GrpcEvent::InitialMetadata(_) | GrpcEvent::TrailingMetadata(_) => Ok(()),
            GrpcEvent::Message(message) => {
                if let Some(live) = callouts.get(token) {
                    live.message = Some(message);
                }
                Ok(())
            }
            GrpcEvent::Closed { status, message } => {
                let Some(live) = callouts.close(token) else {
                    return Ok(());
                };
                match (status, live.message) {
                    (0, Some(answer)) => self.grpc_message(live.root, token, answer),
                    (0, None) => self.grpc_closed(live.root, token, GRPC_INTERNAL, Bytes::new()),
                    _ => self.grpc_closed(live.root, token, status, message),
                }
            }
        }
    }

    fn grpc_stream_event(&mut self, token: Token, event: GrpcEvent) -> Result<(), Trap> {
        let callouts = &mut self.state().callouts;
        let Some(root) = callouts
            .get(token)
            .filter(|live| !live.closed_there)
            .map(|live| live.root)
        else {
            return Ok(());
        };
        match event {
            GrpcEvent::InitialMetadata(map) => {
                let args = [root, token.number(), entries(&map), 0, 0];
                let content = Some(Content::InitialMetadata(map));
                self.deliver(Callback::GrpcReceiveInitialMetadata, args, content)
            }
            GrpcEvent::Message(message) => self.grpc_message(root, token, message),
            GrpcEvent::TrailingMetadata(map) => {
                let args = [root, token.number(), entries(&map), 0, 0];
                let content = Some(Content::TrailingMetadata(map));
                self.deliver(Callback::GrpcReceiveTrailingMetadata, args, content)
            }
            GrpcEvent::Closed { status, message } => {
                // Known before the guest is told, so that closing it then forgets it.
                callouts.close_there(token);
                self.grpc_closed(root, token, status, message)
            }
        }
    }

    fn grpc_message(&mut self, root: u32, token: Token, message: Bytes) -> Result<(), Trap> {
        let args = [root, token.number(), length(&message), 0, 0];
        self.deliver(
            Callback::GrpcReceive,
            args,
            Some(Content::GrpcMessage(Window::opened(message))),
        )
    }

    fn grpc_closed(
        &mut self,
        root: u32,
        token: Token,
        status: u32,
        message: Bytes,
    ) -> Result<(), Trap> {
        self.set_status(root, status, message);
        let args = [root, token.number(), status, 0, 0];
        let told = self.deliver(Callback::GrpcClose, args, None);
        self.set_status(root, status, Bytes::new());
        told
    }

    /// `proxy_on_redis_call_response`: a reply as it came, or `None` when there is none.
    ///
    /// # Errors
    /// When the guest traps.
    pub fn redis_response(&mut self, token: Token, reply: Option<Bytes>) -> Result<(), Trap> {
        let callouts = &mut self.state().callouts;
        let Some(live) = of_kind(token, TokenKind::Redis).and_then(|()| callouts.close(token))
        else {
            return Ok(());
        };
        let size = reply.as_ref().map_or(0, |reply| length(reply));
        let failed = u32::from(reply.is_none());
        let args = [live.root, token.number(), failed, size, 0];
        let content = reply.map(Content::RedisResponse);
        self.deliver(Callback::RedisCallResponse, args, content)
    }

    /// Calls a root, the first of `args`, with something to read.
    fn deliver(
        &mut self,
        callback: Callback,
        args: [u32; 5],
        content: Option<Content>,
    ) -> Result<(), Trap> {
        let root = args[0];
        self.state().delivery = content.map(|content| Delivery { root, content });
        let told = self.call_root(callback, RootId(root), &args);
        self.state().delivery = None;
        told
    }

    /// What `proxy_get_status` answers from now on; the code it answered before.
    fn set_status(&mut self, root: u32, code: u32, message: Bytes) -> u32 {
        let Some(root) = self.state().roots.get_mut(&root) else {
            return 0;
        };
        root.status_message = message;
        std::mem::replace(&mut root.status, code)
    }
}

fn of_kind(token: Token, kind: TokenKind) -> Option<()> {
    (token.kind() == kind).then_some(())
}

fn entries(map: &Headers) -> u32 {
    u32::try_from(map.len()).unwrap_or(u32::MAX)
}
