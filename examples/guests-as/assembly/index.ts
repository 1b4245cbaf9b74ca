// A guest in AssemblyScript, with the SDK its authors use.
//
// On the way in it sets the request header x-as-guest; on the way out it replaces the whole
// body by "hello from AssemblyScript\n" and drops the content-length that no longer fits.
// The configuration, if there is one, takes the place of "hello from AssemblyScript".
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  BufferTypeValues,
  Context,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  LogLevelValues,
  RootContext,
  log,
  registerRootContext,
  set_buffer_bytes,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

class GuestRoot extends RootContext {
  greeting(): string {
    const configured = this.getConfiguration();
    return configured == "" ? "hello from AssemblyScript" : configured;
  }

  createContext(context_id: u32): Context {
    return new Guest(context_id, this);
  }
}

class Guest extends Context {
  private text: string;
  private replaced: bool = false;

  constructor(context_id: u32, root: GuestRoot) {
    super(context_id, root);
    this.text = root.greeting() + "\n";
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    log(LogLevelValues.info, "as guest: " + count.toString() + " request headers");
    stream_context.headers.request.replace("x-as-guest", "request");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    stream_context.headers.response.replace("x-as-guest", "response");
    if (!end_of_stream) stream_context.headers.response.remove("content-length");
    return FilterHeadersStatusValues.Continue;
  }

  // Nothing is held back: the first chunk becomes the new body, every later one is emptied.
  onResponseBody(size: usize, end_of_stream: bool): FilterDataStatusValues {
    const text = this.replaced ? new ArrayBuffer(0) : String.UTF8.encode(this.text);
    this.replaced = true;
    set_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, <u32>size, text);
    return FilterDataStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => new GuestRoot(context_id), "");
