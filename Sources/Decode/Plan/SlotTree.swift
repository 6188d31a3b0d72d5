// Assigns slots to the fields a mapping reads, object by object.

/// The fields a mapping reads, as a tree. Used while a mapping is compiled: `insert` every pointer, then call `layout`.
struct SlotTree {
    private final class Node {
        let pointer: JSONPointer
        var children: [Node] = []
        var isRead = false
        var isEssential = false
        var slot = -1

        init(_ pointer: JSONPointer) { self.pointer = pointer }
    }

    /// The slots, in the order that ``DecodePlan`` requires.
    struct Layout {
        var objects: [ObjectStep] = []
        var essentialObjects = 0
        var pointers: [JSONPointer] = []
        var slots: [JSONPointer: Int] = [:]
    }

    private let root = Node(JSONPointer(tokens: []))

    /// Adds a field that is read as a value. `isEssential`: a Delete needs it.
    /// - Returns: a pointer to a field inside or around it that is read as a value, too, which is a fault; nil: none.
    func insert(_ pointer: JSONPointer, isEssential: Bool) -> JSONPointer? {
        var node = root
        for (depth, token) in pointer.tokens.enumerated() {
            if node.isRead { return node.pointer }
            if isEssential { node.isEssential = true }
            if let child = node.children.first(where: { $0.pointer.tokens[depth] == token }) {
                node = child
            } else {
                let child = Node(JSONPointer(tokens: Array(pointer.tokens[...depth])))
                node.children.append(child)
                node = child
            }
        }
        if let below = node.children.first { return below.pointer }
        node.isRead = true
        if isEssential { node.isEssential = true }
        return nil
    }

    /// Assigns the slots: first objects that a Delete needs, parents before children.
    func layout() -> Layout {
        var layout = Layout()
        assignSlots(root, into: &layout) { $0.isEssential }
        layout.essentialObjects = layout.objects.count
        assignSlots(root, into: &layout) { !$0.isEssential }
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
            layout.objects.append(ObjectStep(parent: node.slot, first: first, count: node.children.count))
        }
        for child in node.children { assignSlots(child, into: &layout, where: isIncluded) }
    }
}
