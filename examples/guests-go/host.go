package main

import "unsafe"

// The numbers of the ABI this guest needs.
const (
	statusOK = 0

	actionContinue = 0

	levelInfo  = 2
	levelError = 4

	requestHeaders  = 0
	responseHeaders = 2

	responseBody        = 1
	pluginConfiguration = 7
)

//go:wasmimport env proxy_log
func proxyLog(level uint32, message unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, max uint32, value, size unsafe.Pointer) uint32

//go:wasmimport env proxy_set_buffer_bytes
func proxySetBufferBytes(buffer, start, length uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_replace_header_map_value
func proxyReplaceHeaderMapValue(headers uint32, name unsafe.Pointer, nameSize uint32, value unsafe.Pointer, size uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(headers uint32, name unsafe.Pointer, nameSize uint32) uint32

// Blocks the host was given and that nobody has taken over yet: a pointer the host holds
// is invisible to the garbage collector.
var lent = map[uintptr][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(size uint32) unsafe.Pointer {
	if size == 0 {
		return nil
	}
	block := make([]byte, size)
	pointer := unsafe.Pointer(unsafe.SliceData(block))
	lent[uintptr(pointer)] = block
	return pointer
}

// take gives back the block at an address the host answered with.
func take(address, size uint32) []byte {
	block := lent[uintptr(address)]
	delete(lent, uintptr(address))
	if uint32(len(block)) < size {
		return nil
	}
	return block[:size]
}

func text(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func logInfo(message string) { writeLog(levelInfo, message) }

func writeLog(level uint32, message string) {
	pointer, size := text(message)
	proxyLog(level, pointer, size)
}

func check(call string, status uint32) bool {
	if status != statusOK {
		writeLog(levelError, "go guest: "+call+" failed")
	}
	return status == statusOK
}

func getBuffer(buffer, start, max uint32) ([]byte, bool) {
	// On the heap and four bytes each, as the host writes them.
	result := new([2]uint32)
	status := proxyGetBufferBytes(buffer, start, max,
		unsafe.Pointer(&result[0]), unsafe.Pointer(&result[1]))
	if !check("get_buffer_bytes", status) {
		return nil, false
	}
	return take(result[0], result[1]), true
}

func setBuffer(buffer, start, length uint32, value string) bool {
	pointer, size := text(value)
	return check("set_buffer_bytes", proxySetBufferBytes(buffer, start, length, pointer, size))
}

func replaceHeader(headers uint32, name, value string) bool {
	n, nameSize := text(name)
	v, size := text(value)
	return check("replace_header", proxyReplaceHeaderMapValue(headers, n, nameSize, v, size))
}

func removeHeader(headers uint32, name string) bool {
	n, nameSize := text(name)
	return check("remove_header", proxyRemoveHeaderMapValue(headers, n, nameSize))
}
