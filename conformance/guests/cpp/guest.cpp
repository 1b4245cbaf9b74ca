// A guest with the habits of the C++ SDK: `malloc` is its allocator, `_initialize` runs its
// static constructors, contexts are objects in a map by id, and a mistake of its own ends in
// abort(). What it does is chosen by its configuration:
//
// | configuration | what it does |
// |---|---|
// | headers | logs the request's path, sets x-cpp both ways, removes x-secret |
// | body | appends to the request's body, prepends to the response's, as `x-op` says |
// | dispatch | asks /ok of cluster `peer`, then lets the request go or answers 403 |
// | several | three calls at once; the request goes on after the last answer |
// | metrics | a counter, logged after each request |
// | shared | counts requests in shared data, by compare-and-swap |
// | queue | sends itself each request's path through a queue |
// | properties | logs some properties |
// | network | TCP: shouts what the client says |
// | panic | aborts in request headers |
#include "host.h"

#include <map>
#include <unordered_map>

namespace {

// Constructed by _initialize, or not at all.
const std::string family = "cpp";
std::string mode;

struct Root {
  Word metric = 0;
  Word queue = 0;
  // Which stream asked, by token.
  std::map<Word, Word> asked;
};

struct Stream {
  explicit Stream(Word root) : root(root) {}
  Word root;
  int waiting = 0;
};

std::unordered_map<Word, std::unique_ptr<Root>> roots;
std::unordered_map<Word, std::unique_ptr<Stream>> streams;

Root &root_of(Word id) {
  auto found = roots.find(id);
  if (found == roots.end()) abort();
  return *found->second;
}

Stream &stream_of(Word id) {
  auto found = streams.find(id);
  if (found == streams.end()) abort();
  return *found->second;
}

void ask(Word context) {
  const std::string headers =
      encode({{":method", "GET"}, {":path", "/ok"}, {":authority", "peer"}, {"x-family", family}});
  Word token = 0;
  const std::string_view upstream = "peer";
  Word status = proxy_http_call(upstream.data(), upstream.size(), headers.data(), headers.size(), nullptr, 0,
                                nullptr, 0, 2000, &token);
  if (status != Ok) {
    say(Error, "http_call: " + std::to_string(status));
    return;
  }
  Stream &stream = stream_of(context);
  root_of(stream.root).asked[token] = context;
  ++stream.waiting;
}

void count_by_cas() {
  const std::string_view key = "cpp.requests";
  for (int tries = 0; tries < 100; ++tries) {
    char *data = nullptr;
    size_t size = 0;
    Word cas = 0;
    Word got = proxy_get_shared_data(key.data(), key.size(), &data, &size, &cas);
    const std::string old = got == Ok ? Taken(data, size).text() : "0";
    const std::string now = std::to_string(std::atoi(old.c_str()) + 1);
    Word set = proxy_set_shared_data(key.data(), key.size(), now.data(), now.size(), cas);
    if (set == Ok) return say(Info, "request " + now);
    if (set != CasMismatch) return say(Error, "set_shared_data: " + std::to_string(set));
  }
}

} // namespace

EXPORT(proxy_abi_version_0_2_1) void proxy_abi_version_0_2_1() {}

EXPORT(proxy_on_context_create) void proxy_on_context_create(Word context, Word parent) {
  if (parent == 0) {
    // As the SDK: the root id decides which factory makes the root, so it must be there.
    say(Info, family + " root '" + property("plugin_root_id") + "'");
    roots[context] = std::make_unique<Root>();
  } else {
    root_of(parent);
    streams[context] = std::make_unique<Stream>(parent);
  }
}

EXPORT(proxy_on_vm_start) Word proxy_on_vm_start(Word context, Word) {
  root_of(context);
  return 1;
}

EXPORT(proxy_validate_configuration) Word proxy_validate_configuration(Word, Word) { return 1; }

EXPORT(proxy_on_configure) Word proxy_on_configure(Word context, Word size) {
  Root &root = root_of(context);
  mode = buffer(PluginConfiguration, 0, size);
  if (mode == "metrics") {
    const std::string_view name = "cpp_requests";
    proxy_define_metric(0, name.data(), name.size(), &root.metric);
  } else if (mode == "queue") {
    const std::string_view name = "cpp_paths";
    proxy_register_shared_queue(name.data(), name.size(), &root.queue);
  }
  say(Info, family + " configured: " + mode);
  return 1;
}

EXPORT(proxy_on_queue_ready) void proxy_on_queue_ready(Word context, Word queue) {
  root_of(context);
  char *data = nullptr;
  size_t size = 0;
  while (proxy_dequeue_shared_queue(queue, &data, &size) == Ok) {
    say(Info, "from the queue: " + Taken(data, size).text());
  }
}

EXPORT(proxy_on_request_headers) Word proxy_on_request_headers(Word context, Word, Word) {
  Stream &stream = stream_of(context);
  Root &root = root_of(stream.root);
  if (mode == "headers") {
    say(Info, "path " + header(RequestHeaders, ":path"));
    replace(RequestHeaders, "x-cpp", "request");
    const std::string_view secret = "x-secret";
    proxy_remove_header_map_value(RequestHeaders, secret.data(), secret.size());
  } else if (mode == "body") {
    const std::string_view length = "content-length";
    proxy_remove_header_map_value(RequestHeaders, length.data(), length.size());
  } else if (mode == "dispatch" || mode == "several") {
    for (int i = 0; i < (mode == "several" ? 3 : 1); ++i) ask(context);
    return stream.waiting == 0 ? 0 : 1;
  } else if (mode == "metrics") {
    proxy_increment_metric(root.metric, 1);
    uint64_t value = 0;
    proxy_get_metric(root.metric, &value);
    say(Info, "counted " + std::to_string(value));
  } else if (mode == "shared") {
    count_by_cas();
  } else if (mode == "queue") {
    const std::string path = header(RequestHeaders, ":path");
    proxy_enqueue_shared_queue(root.queue, path.data(), path.size());
  } else if (mode == "properties") {
    using namespace std::string_literals;
    say(Info, "method " + property("request\0method"s) + ", plugin " + property("plugin_name") + ", missing " +
                  property("no\0such"s));
  } else if (mode == "panic") {
    abort();
  }
  return 0;
}

EXPORT(proxy_on_request_body) Word proxy_on_request_body(Word context, Word size, Word end) {
  stream_of(context);
  if (mode != "body") return 0;
  if (end == 0) return 1;
  const std::string_view tail = "+cpp";
  proxy_set_buffer_bytes(RequestBody, size, 0, tail.data(), tail.size());
  return 0;
}

EXPORT(proxy_on_response_headers) Word proxy_on_response_headers(Word context, Word, Word) {
  stream_of(context);
  if (mode == "headers") replace(ResponseHeaders, "x-cpp", "response");
  if (mode == "body") {
    const std::string_view length = "content-length";
    proxy_remove_header_map_value(ResponseHeaders, length.data(), length.size());
  }
  return 0;
}

EXPORT(proxy_on_response_body) Word proxy_on_response_body(Word context, Word size, Word end) {
  stream_of(context);
  if (mode != "body") return 0;
  if (end == 0) return 1;
  // All of it is read, and all of it replaced.
  const std::string body = "cpp+" + buffer(ResponseBody, 0, size);
  proxy_set_buffer_bytes(ResponseBody, 0, size, body.data(), body.size());
  return 0;
}

EXPORT(proxy_on_http_call_response)
void proxy_on_http_call_response(Word context, Word token, Word, Word size, Word) {
  Root &root = root_of(context);
  auto asked = root.asked.find(token);
  if (asked == root.asked.end()) return; // a token the SDK does not know is ignored
  const Word id = asked->second;
  root.asked.erase(asked);
  auto stream = streams.find(id);
  if (stream == streams.end()) return;
  const std::string status = header(CallHeaders, ":status");
  const std::string body = buffer(CallBody, 0, size);
  proxy_set_effective_context(id);
  say(Info, "peer said " + status + " " + body);
  if (--stream->second->waiting > 0) return;
  if (status == "200") {
    replace(RequestHeaders, "x-cpp", "asked");
    proxy_continue_stream(0);
  } else {
    const std::string headers = encode({{"x-cpp", "denied"}});
    const std::string_view details = "denied by cpp", text = "denied\n";
    proxy_send_local_response(403, details.data(), details.size(), text.data(), text.size(), headers.data(),
                              headers.size(), UINT32_MAX);
  }
}

EXPORT(proxy_on_new_connection) Word proxy_on_new_connection(Word context) {
  stream_of(context);
  return 0;
}

EXPORT(proxy_on_downstream_data) Word proxy_on_downstream_data(Word context, Word size, Word) {
  stream_of(context);
  if (mode != "network" || size == 0) return 0;
  std::string data = buffer(DownstreamData, 0, size);
  for (char &c : data) {
    if (c >= 'a' && c <= 'z') c -= 'a' - 'A';
  }
  proxy_set_buffer_bytes(DownstreamData, 0, size, data.data(), data.size());
  return 0;
}

EXPORT(proxy_on_upstream_data) Word proxy_on_upstream_data(Word context, Word, Word) {
  stream_of(context);
  return 0;
}

EXPORT(proxy_on_done) Word proxy_on_done(Word) { return 1; }

EXPORT(proxy_on_log) void proxy_on_log(Word context) { stream_of(context); }

EXPORT(proxy_on_delete) void proxy_on_delete(Word context) {
  // Unlike the other SDKs', this family crashes on a context it does not know.
  if (streams.erase(context) + roots.erase(context) != 1) abort();
}
