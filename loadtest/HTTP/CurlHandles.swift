// Owns libcurl's handles, one type each.

import CCurl

/// A transfer, which is reused.
struct CurlEasyHandle: ~Copyable {
    /// libcurl's handle.
    let pointer: UnsafeMutableRawPointer

    /// - Throws: if libcurl has no memory.
    init() throws(LoadError) {
        guard let pointer = curl_easy_init() else { throw LoadError(.http, "libcurl could not make a transfer handle") }
        self.pointer = pointer
    }

    deinit { curl_easy_cleanup(pointer) }
}

/// Many transfers driven by one thread.
struct CurlMultiHandle: ~Copyable {
    /// libcurl's handle.
    let pointer: UnsafeMutableRawPointer

    /// - Throws: if libcurl has no memory.
    init() throws(LoadError) {
        guard let pointer = curl_multi_init() else { throw LoadError(.http, "libcurl could not make a multi handle") }
        self.pointer = pointer
    }

    deinit { curl_multi_cleanup(pointer) }
}

/// A list of header lines.
struct CurlListHandle: ~Copyable {
    /// libcurl's list.
    let pointer: UnsafeMutablePointer<curl_slist>?

    /// A list of `lines`.
    init(_ lines: [String]) {
        var list: UnsafeMutablePointer<curl_slist>?
        for line in lines { list = curl_slist_append(list, line) ?? list }
        pointer = list
    }

    deinit { curl_slist_free_all(pointer) }
}
