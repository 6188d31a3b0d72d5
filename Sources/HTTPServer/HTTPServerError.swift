// Owns the errors a server can fail to start with.

/// Why a server did not start.
public struct HTTPServerError: Error, Sendable, CustomStringConvertible {
    /// What went wrong, for callers that decide by it.
    public enum Code: Sendable, Equatable {
        /// Somebody else listens on the port.
        case addressInUse
        /// This machine has no such address.
        case addressUnavailable
        /// The process may not listen on that port.
        case permissionDenied
        /// The host's name means nothing here.
        case unknownHost
        /// A value of the configuration cannot work.
        case invalidConfiguration
        /// A certificate or its key cannot be used.
        case invalidCertificate
        /// The system or libmicrohttpd refused.
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
