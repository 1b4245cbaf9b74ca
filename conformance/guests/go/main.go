// A guest with the habits of the Go SDK: marker 0.2.0, an allocator that cannot hand out no
// bytes, "all" as 0x7fffffff, HTTP tried before TCP, and a panic for whatever it does not
// expect. What it does is chosen by its configuration, as conformance/guests/cpp/guest.cpp.
package main

import (
	"bytes"
	"strconv"
	"unsafe"
)

// Needed by the linker, never called: the module is a library.
func main() {}

type stream struct {
	root    uint32
	waiting int
}

var (
	mode    string
	metric  uint32
	queue   uint32
	roots   = map[uint32]bool{}
	streams = map[uint32]*stream{}
	asked   = map[uint32]uint32{}
)

//go:wasmexport proxy_abi_version_0_2_0
func abiVersion() {}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, parent uint32) {
	if parent == 0 {
		if roots[context] {
			panic("a root twice")
		}
		roots[context] = true
		return
	}
	if !roots[parent] || streams[context] != nil {
		panic("a stream that cannot be")
	}
	streams[context] = &stream{root: parent}
}

func current(context uint32) *stream {
	s := streams[context]
	if s == nil {
		panic("invalid context")
	}
	return s
}

//go:wasmexport proxy_on_vm_start
func onVMStart(root, size uint32) uint32 { return 1 }

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	mode = string(getBuffer(pluginConfiguration, 0, size))
	switch mode {
	case "metrics":
		n, nameSize := text("go_requests")
		id := new(uint32)
		must("define_metric", proxyDefineMetric(0, n, nameSize, unsafe.Pointer(id)))
		metric = *id
	case "queue":
		n, nameSize := text("go_paths")
		id := new(uint32)
		must("register_shared_queue", proxyRegisterSharedQueue(n, nameSize, unsafe.Pointer(id)))
		queue = *id
	}
	logInfo("go configured: " + mode)
	return 1
}

//go:wasmexport proxy_on_queue_ready
func onQueueReady(root, id uint32) {
	for {
		item, ok := dequeue(id)
		if !ok {
			return
		}
		logInfo("from the queue: " + item)
	}
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, endOfStream uint32) uint32 {
	s := current(context)
	switch mode {
	case "headers":
		if getPairs(requestHeaders) != count {
			panic("pairs do not match their number")
		}
		logInfo("path " + getHeader(requestHeaders, ":path"))
		replaceHeader(requestHeaders, "x-go", "request")
		removeHeader(requestHeaders, "x-secret")
	case "body":
		removeHeader(requestHeaders, "content-length")
	case "dispatch", "several":
		calls := 1
		if mode == "several" {
			calls = 3
		}
		for range calls {
			token := httpCall("peer", [][2]string{
				{":method", "GET"}, {":path", "/ok"}, {":authority", "peer"}, {"x-family", "go"},
			}, 2000)
			asked[token] = context
			s.waiting++
		}
		return actionPause
	case "metrics":
		must("increment_metric", proxyIncrementMetric(metric, 1))
		value := new(uint64)
		must("get_metric", proxyGetMetric(metric, unsafe.Pointer(value)))
		logInfo("counted " + strconv.FormatUint(*value, 10))
	case "shared":
		countByCAS()
	case "queue":
		v, size := text(getHeader(requestHeaders, ":path"))
		must("enqueue_shared_queue", proxyEnqueueSharedQueue(queue, v, size))
	case "properties":
		logInfo("method " + getProperty("request\x00method") + ", plugin " + getProperty("plugin_name") +
			", missing " + getProperty("no\x00such"))
	case "panic":
		panic("as asked")
	}
	return actionContinue
}

func countByCAS() {
	const key = "go.requests"
	for range 100 {
		value, cas, status := getSharedData(key)
		if status != statusOK && status != statusNotFound {
			panic("get_shared_data failed")
		}
		old, _ := strconv.Atoi(value)
		now := strconv.Itoa(old + 1)
		switch setSharedData(key, now, cas) {
		case statusOK:
			logInfo("request " + now)
			return
		case statusCasMismatch:
		default:
			panic("set_shared_data failed")
		}
	}
}

//go:wasmexport proxy_on_request_body
func onRequestBody(context, size, endOfStream uint32) uint32 {
	current(context)
	if mode != "body" {
		return actionContinue
	}
	if endOfStream == 0 {
		return actionPause
	}
	setBuffer(requestBody, maxInt32, 0, "+go")
	return actionContinue
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count, endOfStream uint32) uint32 {
	current(context)
	switch mode {
	case "headers":
		replaceHeader(responseHeaders, "x-go", "response")
	case "body":
		removeHeader(responseHeaders, "content-length")
	}
	return actionContinue
}

//go:wasmexport proxy_on_response_body
func onResponseBody(context, size, endOfStream uint32) uint32 {
	current(context)
	if mode != "body" {
		return actionContinue
	}
	if endOfStream == 0 {
		return actionPause
	}
	setBuffer(responseBody, 0, maxInt32, "go+"+string(getBuffer(responseBody, 0, size)))
	return actionContinue
}

//go:wasmexport proxy_on_http_call_response
func onHTTPCallResponse(root, token, headers, size, trailers uint32) {
	context, ok := asked[token]
	if !ok {
		panic("invalid callout id")
	}
	delete(asked, token)
	s := streams[context]
	if s == nil {
		return
	}
	status := getHeader(callResponseHeaders, ":status")
	body := getBuffer(callResponseBody, 0, size)
	proxySetEffectiveContext(context)
	logInfo("peer said " + status + " " + string(body))
	s.waiting--
	if s.waiting > 0 {
		return
	}
	if status == "200" {
		replaceHeader(requestHeaders, "x-go", "asked")
		must("continue_stream", proxyContinueStream(streamRequest))
	} else {
		sendLocalResponse(403, [][2]string{{"x-go", "denied"}}, "denied\n")
	}
}

//go:wasmexport proxy_on_new_connection
func onNewConnection(context uint32) uint32 {
	current(context)
	return actionContinue
}

//go:wasmexport proxy_on_downstream_data
func onDownstreamData(context, size, endOfStream uint32) uint32 {
	current(context)
	if mode == "network" && size > 0 {
		data := getBuffer(downstreamData, 0, size)
		setBuffer(downstreamData, 0, maxInt32, string(bytes.ToUpper(data)))
	}
	return actionContinue
}

//go:wasmexport proxy_on_upstream_data
func onUpstreamData(context, size, endOfStream uint32) uint32 {
	current(context)
	return actionContinue
}

//go:wasmexport proxy_on_done
func onDone(context uint32) uint32 { return 1 }

//go:wasmexport proxy_on_log
func onLog(context uint32) {}

//go:wasmexport proxy_on_delete
func onDelete(context uint32) {
	if !roots[context] {
		current(context)
	}
	delete(roots, context)
	delete(streams, context)
}
