// Calls simdjson's DOM parser for csimdjson.h. The DOM parser is used because it validates the whole document.
#include "csimdjson.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <type_traits>

#define SIMDJSON_EXCEPTIONS 0
#include <simdjson.h>

using namespace simdjson;

struct sj_parser {
    dom::parser parser;
    size_t max_bytes;
    size_t max_depth;

    sj_parser(size_t bytes, size_t depth) noexcept : parser(), max_bytes(bytes), max_depth(depth) {}

    // simdjson grows to the exact size it is asked for; whole powers of two keep slowly growing documents from allocating each time.
    error_code make_room(size_t length) noexcept {
        if (parser.capacity() >= length && parser.doc.capacity() >= length && parser.capacity() > 0) { return SUCCESS; }
        size_t capacity = 16384;
        while (capacity < length) { capacity *= 2; }
        if (error_code error = parser.doc.allocate(capacity)) { return error; }
        return parser.allocate(capacity, max_depth);
    }
};

namespace {

// A container's element travels through `pointer` and `bits`: it is a document and a position on its tape.
static_assert(std::is_trivially_copyable<dom::element>::value, "elements are carried as bytes");
static_assert(sizeof(dom::element) == sizeof(const void *) + sizeof(uint64_t), "an element is two words");

inline void pack(dom::element element, sj_value &value) noexcept {
    std::memcpy(static_cast<void *>(&value), &element, sizeof element);
}

inline dom::element unpack(const sj_value &value) noexcept {
    dom::element element;
    std::memcpy(static_cast<void *>(&element), static_cast<const void *>(&value), sizeof element);
    return element;
}

inline sj_value read(dom::element element) noexcept {
    sj_value value{};
    switch (element.type()) {
    case dom::element_type::STRING: {
        std::string_view text;
        if (element.get(text) == SUCCESS) {
            value.type = SJ_STRING;
            value.pointer = text.data();
            value.bits = text.size();
        }
        break;
    }
    case dom::element_type::INT64: {
        int64_t number = 0;
        if (element.get(number) == SUCCESS) {
            value.type = SJ_INT64;
            value.bits = static_cast<uint64_t>(number);
        }
        break;
    }
    case dom::element_type::UINT64:
        if (element.get(value.bits) == SUCCESS) { value.type = SJ_UINT64; }
        break;
    case dom::element_type::DOUBLE: {
        double number = 0;
        if (element.get(number) == SUCCESS) {
            value.type = SJ_DOUBLE;
            std::memcpy(&value.bits, &number, sizeof number);
        }
        break;
    }
    case dom::element_type::BOOL: {
        bool flag = false;
        if (element.get(flag) == SUCCESS) {
            value.type = SJ_BOOL;
            value.bits = flag ? 1 : 0;
        }
        break;
    }
    case dom::element_type::NULL_VALUE:
        value.type = SJ_NULL;
        break;
    case dom::element_type::ARRAY:
        value.type = SJ_ARRAY;
        pack(element, value);
        break;
    case dom::element_type::OBJECT:
        value.type = SJ_OBJECT;
        pack(element, value);
        break;
    }
    return value;
}

}  // namespace

extern "C" {

sj_parser *sj_parser_new(size_t max_bytes, size_t max_depth) noexcept {
    sj_parser *parser = new (std::nothrow) sj_parser(max_bytes, max_depth);
    if (parser != nullptr && parser->make_room(1) != SUCCESS) {
        delete parser;
        return nullptr;
    }
    return parser;
}

void sj_parser_free(sj_parser *parser) noexcept { delete parser; }

size_t sj_parser_capacity(const sj_parser *parser) noexcept { return parser->parser.capacity(); }

int32_t sj_parse(sj_parser *parser, const void *document, size_t length, sj_value *root) noexcept {
    if (length > parser->max_bytes) { return SJ_TOO_LARGE; }
    if (parser->make_room(length) != SUCCESS) { return SJ_NO_MEMORY; }
    dom::element element;
    switch (parser->parser.parse(static_cast<const uint8_t *>(document), length, false).get(element)) {
    case SUCCESS:
        *root = read(element);
        return SJ_OK;
    case MEMALLOC:
        return SJ_NO_MEMORY;
    case CAPACITY:
        return SJ_TOO_LARGE;
    case DEPTH_ERROR:
        return SJ_TOO_DEEP;
    default:
        return SJ_REFUSED;
    }
}

void sj_find(const sj_value *object, const sj_name *names, size_t count, sj_value *found) noexcept {
    std::memset(static_cast<void *>(found), 0, count * sizeof *found);
    dom::object fields;
    if (unpack(*object).get(fields) != SUCCESS) { return; }
    size_t next = 0;
    const dom::object::iterator end = fields.end();
    for (dom::object::iterator field = fields.begin(); field != end; ++field) {
        const size_t length = field.key_length();
        for (size_t tried = 0; tried < count; tried++) {
            const size_t candidate = next;
            next = next + 1 == count ? 0 : next + 1;
            if (names[candidate].length != length) { continue; }
            if (std::memcmp(names[candidate].bytes, field.key_c_str(), length) != 0) { continue; }
            if (found[candidate].type == SJ_ABSENT) {
                found[candidate] = read(field.value());
            } else {
                found[candidate].is_repeated = true;
            }
            break;
        }
    }
}

sj_value sj_at(const sj_value *array, size_t index) noexcept {
    dom::array elements;
    if (unpack(*array).get(elements) == SUCCESS) {
        for (dom::element element : elements) {
            if (index == 0) { return read(element); }
            index--;
        }
    }
    return sj_value{};
}

bool sj_is_utf8(const void *bytes, size_t length) noexcept {
    return simdjson::validate_utf8(static_cast<const char *>(bytes), length);
}

}  // extern "C"
