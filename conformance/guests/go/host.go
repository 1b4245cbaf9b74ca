package main

import (
	"encoding/binary"
	"unsafe"
)

// The numbers of the ABI this guest needs.
const (
	statusOK          = 0
	statusNotFound    = 1
	statusEmpty       = 7
	statusCasMismatch = 8

	actionContinue = 0
	actionPause    = 1

	levelInfo     = 2
	levelError    = 4
	levelCritical = 5

	requestHeaders      = 0
	responseHeaders     = 2
	callResponseHeaders = 6

	requestBody         = 0
	responseBody        = 1
	downstreamData      = 2
	callResponseBody    = 4
	pluginConfiguration = 7

	streamRequest = 0

	// The Go SDK's way to say "all of it" and "behind it".
	maxInt32 = 0x7fffffff
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, message unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, max uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBufferBytes(buffer, start, length uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(headers uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_get_header_map_value
func proxyGetHeaderMapValue(headers uint32, name unsafe.Pointer, nameSize uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(headers uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(headers uint32, name unsafe.Pointer, nameSize uint32) uint32

//go:wasmimport env proxy_get_property
func proxyGetProperty(path unsafe.Pointer, pathSize uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_http_call
func proxyHttpCall(upstream unsafe.Pointer, upstreamSize uint32, headers unsafe.Pointer, headersSize uint32,
	body unsafe.Pointer, bodySize uint32, trailers unsafe.Pointer, trailersSize uint32, timeout uint32, token unsafe.Pointer) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(code uint32, details unsafe.Pointer, detailsSize uint32, body unsafe.Pointer, bodySize uint32,
	headers unsafe.Pointer, headersSize uint32, grpc int32) uint32

//go:wasmimport env proxy_continue_stream
func proxyContinueStream(stream uint32) uint32

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(context uint32) uint32

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name unsafe.Pointer, nameSize uint32, id unsafe.Pointer) uint32

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id uint32, by int64) uint32

//go:wasmimport env proxy_get_metric
func proxyGetMetric(id uint32, value unsafe.Pointer) uint32

//go:wasmimport env proxy_get_shared_data
func proxyGetSharedData(key unsafe.Pointer, keySize uint32, value, size, cas unsafe.Pointer) uint32

//go:wasmimport env proxy_set_shared_data
func proxySetSharedData(key unsafe.Pointer, keySize uint32, value unsafe.Pointer, size uint32, cas uint32) uint32

//go:wasmimport env proxy_register_shared_queue
func proxyRegisterSharedQueue(name unsafe.Pointer, nameSize uint32, id unsafe.Pointer) uint32

//go:wasmimport env proxy_enqueue_shared_queue
func proxyEnqueueSharedQueue(id uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_dequeue_shared_queue
func proxyDequeueSharedQueue(id uint32, value, size unsafe.Pointer) uint32

// Blocks the host was given and that nobody has taken over yet: a pointer the host holds
// is invisible to the garbage collector.
var lent = map[uintptr][]byte{}

// As the SDK's: element 0 of the block is looked at, so a block of no bytes is a panic.
//
//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	block := make([]byte, size)
	pointer := unsafe.Pointer(&block[0])
	lent[uintptr(pointer)] = block
	return pointer
}

// Where the host writes an address and a size: on the heap and four bytes each.
type place struct{ address, size uint32 }

func (p *place) pointers() (unsafe.Pointer, unsafe.Pointer) {
	return unsafe.Pointer(&p.address), unsafe.Pointer(&p.size)
}

// take gives back the block at an address the host answered with.
func (p *place) take() []byte {
	block := lent[uintptr(p.address)]
	delete(lent, uintptr(p.address))
	if uint32(len(block)) < p.size {
		panic("the host wrote more than it asked for")
	}
	return block[:p.size]
}

func text[T string | []byte](s T) (unsafe.Pointer, uint32) {
	if len(s) == 0 {
		return nil, 0
	}
	bytes := []byte(s)
	return unsafe.Pointer(&bytes[0]), uint32(len(bytes))
}

func logInfo(message string) {
	pointer, size := text(message)
	proxyLog(levelInfo, pointer, size)
}

// must is what the SDK does with an answer it did not expect.
func must(call string, status uint32) {
	if status != statusOK {
		panic(call + " failed")
	}
}

func getBuffer(buffer, start, max uint32) []byte {
	result := new(place)
	address, size := result.pointers()
	if proxyGetBufferBytes(buffer, start, max, address, size) != statusOK || result.address == 0 {
		return nil
	}
	return result.take()
}

func setBuffer(buffer, start, length uint32, value string) {
	pointer, size := text(value)
	must("set_buffer_bytes", proxySetBufferBytes(buffer, start, length, pointer, size))
}

func getHeader(headers uint32, name string) string {
	result := new(place)
	address, size := result.pointers()
	n, nameSize := text(name)
	if proxyGetHeaderMapValue(headers, n, nameSize, address, size) != statusOK {
		return ""
	}
	return string(result.take())
}

// getPairs counts a map's entries, off the serialised form.
func getPairs(headers uint32) uint32 {
	result := new(place)
	address, size := result.pointers()
	must("get_header_map_pairs", proxyGetHeaderMapPairs(headers, address, size))
	if result.address == 0 {
		return 0
	}
	return binary.LittleEndian.Uint32(result.take())
}

func replaceHeader(headers uint32, name, value string) {
	n, nameSize := text(name)
	v, size := text(value)
	must("replace_header_map_value", proxyReplaceHeaderMapValue(headers, n, nameSize, v, size))
}

func removeHeader(headers uint32, name string) {
	n, nameSize := text(name)
	must("remove_header_map_value", proxyRemoveHeaderMapValue(headers, n, nameSize))
}

func getProperty(path string) string {
	result := new(place)
	address, size := result.pointers()
	p, pathSize := text(path)
	if proxyGetProperty(p, pathSize, address, size) != statusOK {
		return "?"
	}
	return string(result.take())
}

func encode(pairs [][2]string) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, pair := range pairs {
		out = binary.LittleEndian.AppendUint32(out, uint32(len(pair[0])))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(pair[1])))
	}
	for _, pair := range pairs {
		for _, field := range pair {
			out = append(append(out, field...), 0)
		}
	}
	return out
}

func httpCall(upstream string, headers [][2]string, timeout uint32) uint32 {
	token := new(uint32)
	u, upstreamSize := text(upstream)
	h, headersSize := text(encode(headers))
	// No trailers, as the SDK writes it: a count of zero.
	t, trailersSize := text(encode(nil))
	must("http_call", proxyHttpCall(u, upstreamSize, h, headersSize, nil, 0, t, trailersSize, timeout, unsafe.Pointer(token)))
	return *token
}

func sendLocalResponse(code uint32, headers [][2]string, body string) {
	h, headersSize := text(encode(headers))
	b, size := text(body)
	must("send_local_response", proxySendLocalResponse(code, nil, 0, b, size, h, headersSize, -1))
}

func getSharedData(key string) (string, uint32, uint32) {
	result, cas := new(place), new(uint32)
	address, size := result.pointers()
	k, keySize := text(key)
	status := proxyGetSharedData(k, keySize, address, size, unsafe.Pointer(cas))
	if status != statusOK {
		return "", 0, status
	}
	return string(result.take()), *cas, status
}

func setSharedData(key, value string, cas uint32) uint32 {
	k, keySize := text(key)
	v, size := text(value)
	return proxySetSharedData(k, keySize, v, size, cas)
}

func dequeue(id uint32) (string, bool) {
	result := new(place)
	address, size := result.pointers()
	switch status := proxyDequeueSharedQueue(id, address, size); status {
	case statusOK:
		return string(result.take()), true
	case statusEmpty, statusNotFound:
		return "", false
	default:
		panic("dequeue_shared_queue failed")
	}
}
