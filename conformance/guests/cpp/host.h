// The hostcalls this guest needs, and the habits of the C++ SDK around them: what the host
// hands over is memory of malloc, owned by whoever takes it and freed by him.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#define IMPORT(name) extern "C" __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

using Word = uint32_t;

enum Status : Word { Ok = 0, NotFound = 1, BadArgument = 2, Empty = 7, CasMismatch = 8 };
enum Level : Word { Info = 2, Warn = 3, Error = 4 };
enum Map : Word { RequestHeaders = 0, ResponseHeaders = 2, CallHeaders = 6 };
enum Buffer : Word {
  RequestBody = 0,
  ResponseBody = 1,
  DownstreamData = 2,
  UpstreamData = 3,
  CallBody = 4,
  PluginConfiguration = 7
};

IMPORT(proxy_log) Word proxy_log(Word level, const char *text, size_t size);
IMPORT(proxy_get_buffer_bytes)
Word proxy_get_buffer_bytes(Word buffer, Word start, Word max, char **data, size_t *size);
IMPORT(proxy_set_buffer_bytes)
Word proxy_set_buffer_bytes(Word buffer, Word start, Word length, const char *data, size_t size);
IMPORT(proxy_get_header_map_pairs)
Word proxy_get_header_map_pairs(Word map, char **data, size_t *size);
IMPORT(proxy_get_header_map_value)
Word proxy_get_header_map_value(Word map, const char *key, size_t key_size, char **data, size_t *size);
IMPORT(proxy_replace_header_map_value)
Word proxy_replace_header_map_value(Word map, const char *key, size_t key_size, const char *data, size_t size);
IMPORT(proxy_remove_header_map_value)
Word proxy_remove_header_map_value(Word map, const char *key, size_t key_size);
IMPORT(proxy_get_property)
Word proxy_get_property(const char *path, size_t path_size, char **data, size_t *size);
IMPORT(proxy_http_call)
Word proxy_http_call(const char *upstream, size_t upstream_size, const char *headers, size_t headers_size,
                     const char *body, size_t body_size, const char *trailers, size_t trailers_size,
                     Word timeout, Word *token);
IMPORT(proxy_send_local_response)
Word proxy_send_local_response(Word code, const char *details, size_t details_size, const char *body,
                               size_t body_size, const char *headers, size_t headers_size, Word grpc);
IMPORT(proxy_continue_stream) Word proxy_continue_stream(Word stream);
IMPORT(proxy_set_effective_context) Word proxy_set_effective_context(Word context);
IMPORT(proxy_set_tick_period_milliseconds) Word proxy_set_tick_period_milliseconds(Word period);
IMPORT(proxy_define_metric) Word proxy_define_metric(Word type, const char *name, size_t size, Word *id);
IMPORT(proxy_increment_metric) Word proxy_increment_metric(Word id, int64_t by);
IMPORT(proxy_get_metric) Word proxy_get_metric(Word id, uint64_t *value);
IMPORT(proxy_get_shared_data)
Word proxy_get_shared_data(const char *key, size_t key_size, char **data, size_t *size, Word *cas);
IMPORT(proxy_set_shared_data)
Word proxy_set_shared_data(const char *key, size_t key_size, const char *data, size_t size, Word cas);
IMPORT(proxy_register_shared_queue) Word proxy_register_shared_queue(const char *name, size_t size, Word *id);
IMPORT(proxy_enqueue_shared_queue) Word proxy_enqueue_shared_queue(Word id, const char *data, size_t size);
IMPORT(proxy_dequeue_shared_queue) Word proxy_dequeue_shared_queue(Word id, char **data, size_t *size);

// A value of the host's, freed with this, as the SDK's WasmData.
class Taken {
public:
  Taken(char *data, size_t size) : data_(data), size_(size) {}
  Taken(Taken &&other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  Taken(const Taken &) = delete;
  ~Taken() { ::free(data_); }
  std::string text() const { return std::string(data_ == nullptr ? "" : data_, size_); }

private:
  char *data_;
  size_t size_;
};

inline void say(Level level, const std::string &text) { proxy_log(level, text.data(), text.size()); }

inline std::string buffer(Buffer which, Word start = 0, Word max = UINT32_MAX) {
  char *data = nullptr;
  size_t size = 0;
  if (proxy_get_buffer_bytes(which, start, max, &data, &size) != Ok) return {};
  return Taken(data, size).text();
}

inline std::string header(Map map, std::string_view key) {
  char *data = nullptr;
  size_t size = 0;
  if (proxy_get_header_map_value(map, key.data(), key.size(), &data, &size) != Ok) return {};
  return Taken(data, size).text();
}

inline void replace(Map map, std::string_view key, std::string_view value) {
  proxy_replace_header_map_value(map, key.data(), key.size(), value.data(), value.size());
}

inline std::string property(std::string_view path) {
  char *data = nullptr;
  size_t size = 0;
  if (proxy_get_property(path.data(), path.size(), &data, &size) != Ok) return "?";
  return Taken(data, size).text();
}

using Pairs = std::vector<std::pair<std::string_view, std::string_view>>;

inline std::string encode(const Pairs &pairs) {
  std::string lengths, text;
  auto put = [&](Word number) { lengths.append(reinterpret_cast<const char *>(&number), sizeof number); };
  put(static_cast<Word>(pairs.size()));
  for (const auto &[key, value] : pairs) {
    put(static_cast<Word>(key.size()));
    put(static_cast<Word>(value.size()));
    text.append(key).push_back('\0');
    text.append(value).push_back('\0');
  }
  return lengths + text;
}
