// A guest in plain Go: no SDK, the hostcalls are declared in host.go.
//
// On the way in it sets the request header x-go-guest; on the way out it replaces the whole
// body by "hello from Go\n", whatever its size, and drops the content-length that no longer
// fits. The configuration, if there is one, takes the place of "hello from Go".
package main

// Needed by the linker, never called: the module is a library.
func main() {}

// What one stream has to remember.
type stream struct {
	replaced bool
}

var (
	greeting = "hello from Go"
	streams  = map[uint32]*stream{}
)

//go:wasmexport proxy_abi_version_0_2_1
func abiVersion() {}

//go:wasmexport proxy_on_context_create
func onContextCreate(context, parent uint32) {
	if parent != 0 {
		streams[context] = &stream{}
	}
}

//go:wasmexport proxy_on_configure
func onConfigure(root, size uint32) uint32 {
	if size > 0 {
		if text, ok := getBuffer(pluginConfiguration, 0, size); ok && len(text) > 0 {
			greeting = string(text)
		}
	}
	logInfo("go guest: the greeting is " + greeting)
	return 1
}

//go:wasmexport proxy_on_request_headers
func onRequestHeaders(context, count, endOfStream uint32) uint32 {
	replaceHeader(requestHeaders, "x-go-guest", "request")
	return actionContinue
}

//go:wasmexport proxy_on_response_headers
func onResponseHeaders(context, count, endOfStream uint32) uint32 {
	replaceHeader(responseHeaders, "x-go-guest", "response")
	if endOfStream == 0 {
		removeHeader(responseHeaders, "content-length")
	}
	return actionContinue
}

// Nothing is held back: the first chunk becomes the new body, every later one is emptied.
//
//go:wasmexport proxy_on_response_body
func onResponseBody(context, size, endOfStream uint32) uint32 {
	s := streams[context]
	if s == nil {
		return actionContinue
	}
	text := ""
	if !s.replaced {
		s.replaced = true
		text = greeting + "\n"
	}
	setBuffer(responseBody, 0, size, text)
	return actionContinue
}

//go:wasmexport proxy_on_done
func onDone(context uint32) uint32 { return 1 }

//go:wasmexport proxy_on_delete
func onDelete(context uint32) { delete(streams, context) }
