// Proves that a transaction takes no more than its batches are charged for.

import Records
import Testing

@testable import Apply

@Suite struct FootprintTests {
    @Test(arguments: [1, 2, 3, 10, 100]) func sortingAndStatementsFitIntoTheCharge(columns: Int) {
        let charge = Footprint(columns: columns).perRecord
        #expect(charge >= MemoryLayout<Record>.stride)
        #expect(charge >= MemoryLayout<Change>.stride + columns * MemoryLayout<Slice>.stride)
        // The event; its entry and the spare one while sorting; its place, the start of its run and its row in a statement.
        let order = MemoryLayout<Event>.stride + 2 * MemoryLayout<SortEntry>.stride + 3 * MemoryLayout<Int32>.stride
        // An element's length, in an array and in libpq's copy, each perhaps twice as large as it need be.
        let lengths = Footprint.copiesInTransaction * MemoryLayout<Int32>.size * columns
        #expect(order + lengths <= Footprint.copiesInTransaction * charge)
    }
}
