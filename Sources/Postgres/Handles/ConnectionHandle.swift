// Owns one PGconn.

internal import CPq

/// One `PGconn`; finished when it goes. To be used by one thread at a time, as libpq demands.
struct ConnectionHandle: ~Copyable {
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { PQfinish(pointer) }
}
