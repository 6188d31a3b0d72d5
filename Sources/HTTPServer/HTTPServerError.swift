// Owns the errors a server can fail to start with.

/// Why a server did not start.
public struct HTTPServerError: Error, Sendable, CustomStringConvertible {
    /// What went wrong, for callers that act on it.
    public enum Code: Sendable, Equatable {
        /// Another process listens on the port.
        case addressInUse
        /// This machine has no such address.
        case addressUnavailable
        /// The process lacks the permission to listen on that port.
        case permissionDenied
        /// The host's name cannot be resolved.
        case unknownHost
        /// A value of the configuration cannot work.
        case invalidConfiguration
        /// A certificate or its key cannot be used.
        case invalidCertificate
        /// A system call or libmicrohttpd failed.
        case system
    }

    /// What went wrong.
    public let code: Code
    /// One sentence that names the address and the remedy.
    public let description: String

    init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
