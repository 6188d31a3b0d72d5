// Tells which libmicrohttpd is in use.

internal import CMicrohttpd

/// libmicrohttpd, as it was loaded.
public enum HTTPLibrary {
    /// Its version, such as `0.9.75`.
    public static var version: String { String(cString: MHD_get_version()) }
}
