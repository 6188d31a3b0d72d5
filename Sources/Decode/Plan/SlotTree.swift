// Assigns slots to the fields a mapping reads, object by object.

/// The fields a mapping reads, as a tree. Used while a mapping is compiled: `insert` every pointer, then call `layout`.
struct SlotTree {
    private final class Node {
        let pointer: JSONPointer
        var children: [Node] = []
        var isRead = false
        var need = FieldNeed.row
        var slot = -1

        /// For what values inside of it are needed first; `condition`: none is read.
        var columnsNeed: FieldNeed {
            let needs = children.map { $0.isRead ? $0.readFor : $0.columnsNeed }
            return needs.filter { $0 != .condition }.min() ?? .condition
        }
        /// For what its value is needed, where it is read.
        var readFor = FieldNeed.row

        init(_ pointer: JSONPointer) { self.pointer = pointer }

        func child(_ token: String) -> Node? { children.first { $0.pointer.tokens.last == token } }
    }

    /// The slots, in the order that ``DecodePlan`` requires.
    struct Layout {
        var objects: [ObjectStep] = []
        var conditionObjects = 0
        var essentialObjects = 0
        var pointers: [JSONPointer] = []
        var slots: [JSONPointer: Int] = [:]
    }

    /// The tokens of the pointer to the row, to which the paths of columns are relative.
    let row: [String]
    private let root = Node(JSONPointer(tokens: []))

    init(row: [String] = []) { self.row = row }

    /// The pointer from the event's root to a field of the row.
    func inRow(_ path: JSONPointer) -> JSONPointer { JSONPointer(tokens: row + path.tokens) }

    /// Adds a field that is read as a value. `isEssential`: a Delete needs it.
    /// - Returns: a pointer to a field inside or around it that is read as a value, too, which is a fault; nil: none.
    func insert(_ pointer: JSONPointer, isEssential: Bool) -> JSONPointer? {
        var known: Node? = root
        for token in pointer.tokens {
            if let known, known.isRead { return known.pointer }
            known = known?.child(token)
        }
        if let below = known?.children.first { return below.pointer }
        let need: FieldNeed = isEssential ? .delete : .row
        let node = node(for: pointer, need: need)
        node.isRead = true
        node.readFor = min(node.readFor, need)
        return nil
    }

    /// Adds a field that only conditions and the envelope look at: other fields may be inside or around it.
    func insertForCondition(_ pointer: JSONPointer) { _ = node(for: pointer, need: .condition) }

    /// The node of a field, made with those around it where they are missing.
    private func node(for pointer: JSONPointer, need: FieldNeed) -> Node {
        var node = root
        for (depth, token) in pointer.tokens.enumerated() {
            node.need = min(node.need, need)
            if node.child(token) == nil {
                node.children.append(Node(JSONPointer(tokens: Array(pointer.tokens[...depth]))))
            }
            node = node.child(token) ?? node
        }
        return node
    }

    /// Assigns the slots: first objects that conditions need, then those that a Delete needs; parents before children.
    func layout() -> Layout {
        var layout = Layout()
        assignSlots(root, into: &layout) { $0.need == .condition }
        layout.conditionObjects = layout.objects.count
        assignSlots(root, into: &layout) { $0.need == .delete }
        layout.essentialObjects = layout.objects.count
        assignSlots(root, into: &layout) { $0.need == .row }
        return layout
    }

    private func assignSlots(_ node: Node, into layout: inout Layout, where isIncluded: (Node) -> Bool) {
        if !node.children.isEmpty, isIncluded(node) {
            let first = layout.pointers.count
            for (index, child) in node.children.enumerated() {
                child.slot = first + index
                layout.pointers.append(child.pointer)
                layout.slots[child.pointer] = child.slot
            }
            layout.objects.append(
                ObjectStep(parent: node.slot, first: first, count: node.children.count, columnsNeed: node.columnsNeed))
        }
        for child in node.children { assignSlots(child, into: &layout, where: isIncluded) }
    }
}
