// A guest with the habits of the AssemblyScript SDK: `malloc` pins what the host hands over,
// one class serves HTTP and TCP, an error ends in abort() and that in proc_exit. What it does
// is chosen by its configuration, as conformance/guests/cpp/guest.cpp.
export * from "@gcoredev/proxy-wasm-sdk-as/assembly/proxy";
import {
  BufferTypeValues,
  BaseContext,
  Context,
  Counter,
  FilterDataStatusValues,
  FilterHeadersStatusValues,
  FilterStatusValues,
  GrpcStatusValues,
  HeaderPair,
  LogLevelValues,
  RootContext,
  WasmResultValues,
  dequeue_shared_queue,
  enqueue_shared_queue,
  get_buffer_bytes,
  get_property,
  get_shared_data,
  log,
  makeHeaderPair,
  register_shared_queue,
  registerRootContext,
  send_local_response,
  set_buffer_bytes,
  set_shared_data,
  stream_context,
} from "@gcoredev/proxy-wasm-sdk-as/assembly";

function info(text: string): void {
  log(LogLevelValues.info, text);
}

function property(path: string): string {
  const value = get_property(path);
  return value.byteLength == 0 ? "?" : String.UTF8.decode(value);
}

class Root extends RootContext {
  counter: Counter | null = null;
  queue: u32 = 0;

  onConfigure(size: u32): bool {
    super.onConfigure(size);
    const mode = this.getConfiguration();
    if (mode == "metrics") this.counter = new Counter("as_requests");
    if (mode == "queue") this.queue = register_shared_queue("as_paths").token;
    info("as configured: " + mode);
    return true;
  }

  onQueueReady(token: u32): void {
    for (;;) {
      const item = dequeue_shared_queue(token);
      if (item.result != WasmResultValues.Ok) return;
      info("from the queue: " + String.UTF8.decode(item.data as ArrayBuffer));
    }
  }

  createContext(context_id: u32): Context {
    return new Stream(context_id, this);
  }
}

class Stream extends Context {
  root: Root;
  mode: string;
  waiting: i32 = 0;

  constructor(context_id: u32, root: Root) {
    super(context_id, root);
    this.root = root;
    this.mode = root.getConfiguration();
  }

  onRequestHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const request = stream_context.headers.request;
    if (this.mode == "headers") {
      info("path " + request.get(":path"));
      if (<u32>request.get_headers().length != count) throw new Error("pairs do not match their number");
      request.replace("x-as", "request");
      request.remove("x-secret");
    } else if (this.mode == "body") {
      request.remove("content-length");
    } else if (this.mode == "dispatch" || this.mode == "several") {
      const calls = this.mode == "several" ? 3 : 1;
      for (let i = 0; i < calls; i++) this.ask();
      return FilterHeadersStatusValues.StopIteration;
    } else if (this.mode == "metrics") {
      const result = (this.root.counter as Counter).increment(1);
      info("increment " + (<i32>result).toString());
    } else if (this.mode == "shared") {
      this.countByCas();
    } else if (this.mode == "queue") {
      enqueue_shared_queue(this.root.queue, String.UTF8.encode(request.get(":path")));
    } else if (this.mode == "properties") {
      info("method " + property("request\0method") + ", plugin " + property("plugin_name") +
        ", missing " + property("no\0such"));
    } else if (this.mode == "panic") {
      throw new Error("as asked");
    }
    return FilterHeadersStatusValues.Continue;
  }

  ask(): void {
    const headers: HeaderPair[] = [
      makeHeaderPair(":method", "GET"),
      makeHeaderPair(":path", "/ok"),
      makeHeaderPair(":authority", "peer"),
      makeHeaderPair("x-family", "as"),
    ];
    const result = this.root.httpCall("peer", headers, new ArrayBuffer(0), [], 2000, this,
      (origin: BaseContext, headers: u32, size: usize, trailers: u32): void => {
        (origin as Stream).answered(<u32>size);
      });
    if (result != WasmResultValues.Ok) throw new Error("http_call failed");
    this.waiting++;
  }

  // The SDK has made this stream the effective context.
  answered(size: u32): void {
    const status = stream_context.headers.http_callback.get(":status");
    const body = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpCallResponseBody, 0, size));
    info("peer said " + status + " " + body);
    if (--this.waiting > 0) return;
    if (status == "200") {
      stream_context.headers.request.replace("x-as", "asked");
      this.continueRequest();
    } else {
      send_local_response(403, "denied by as", String.UTF8.encode("denied\n"),
        [makeHeaderPair("x-as", "denied")], GrpcStatusValues.PermissionDenied);
    }
  }

  countByCas(): void {
    const key = "as.requests";
    for (let tries = 0; tries < 100; tries++) {
      const held = get_shared_data(key);
      const old = held.result == WasmResultValues.Ok ? String.UTF8.decode(held.value as ArrayBuffer) : "0";
      const now = (I32.parseInt(old) + 1).toString();
      if (set_shared_data(key, String.UTF8.encode(now), held.cas) == WasmResultValues.Ok) {
        info("request " + now);
        return;
      }
    }
  }

  onRequestBody(size: usize, end_of_stream: bool): FilterDataStatusValues {
    if (this.mode != "body") return FilterDataStatusValues.Continue;
    if (!end_of_stream) return FilterDataStatusValues.StopIterationAndBuffer;
    set_buffer_bytes(BufferTypeValues.HttpRequestBody, <u32>size, 0, String.UTF8.encode("+as"));
    return FilterDataStatusValues.Continue;
  }

  onResponseHeaders(count: u32, end_of_stream: bool): FilterHeadersStatusValues {
    const response = stream_context.headers.response;
    if (this.mode == "headers") response.replace("x-as", "response");
    if (this.mode == "body") response.remove("content-length");
    return FilterHeadersStatusValues.Continue;
  }

  onResponseBody(size: usize, end_of_stream: bool): FilterDataStatusValues {
    if (this.mode != "body") return FilterDataStatusValues.Continue;
    if (!end_of_stream) return FilterDataStatusValues.StopIterationAndBuffer;
    const body = "as+" + String.UTF8.decode(get_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, <u32>size));
    set_buffer_bytes(BufferTypeValues.HttpResponseBody, 0, <u32>size, String.UTF8.encode(body));
    return FilterDataStatusValues.Continue;
  }

  onDownstreamData(size: usize, end: bool): FilterStatusValues {
    if (this.mode == "network" && size > 0) {
      const data = String.UTF8.decode(get_buffer_bytes(BufferTypeValues.NetworkDownstreamData, 0, <u32>size));
      set_buffer_bytes(BufferTypeValues.NetworkDownstreamData, 0, <u32>size, String.UTF8.encode(data.toUpperCase()));
    }
    return FilterStatusValues.Continue;
  }
}

registerRootContext((context_id: u32) => new Root(context_id), "");
