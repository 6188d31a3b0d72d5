// The C face of simdjson for Swift: parse a whole document, look fields up, read values. No policy.
#ifndef SLUICE_CSIMDJSON_H
#define SLUICE_CSIMDJSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define SJ_NOEXCEPT noexcept
extern "C" {
#else
#define SJ_NOEXCEPT
#endif

/// A simdjson DOM parser and the document it parsed last. One thread at a time.
typedef struct sj_parser sj_parser;

/// What became of a document.
enum {
    SJ_OK = 0,
    /// Not a JSON document, or one whose numbers simdjson cannot hold.
    SJ_REFUSED = 1,
    /// Longer than the parser takes.
    SJ_TOO_LARGE = 2,
    /// Nested deeper than the parser takes.
    SJ_TOO_DEEP = 3,
    SJ_NO_MEMORY = 4,
};

/// What an `sj_value` holds. SJ_ABSENT is 0, so that a cleared value is an absent one.
enum {
    SJ_ABSENT = 0,
    SJ_NULL = 1,
    SJ_BOOL = 2,
    SJ_INT64 = 3,
    /// An integer above INT64_MAX.
    SJ_UINT64 = 4,
    SJ_DOUBLE = 5,
    SJ_STRING = 6,
    SJ_ARRAY = 7,
    SJ_OBJECT = 8,
};

/// One value of the parser's document. Valid until the parser parses again or is freed.
typedef struct {
    /// SJ_STRING: its unescaped UTF-8. SJ_ARRAY, SJ_OBJECT: the shim's own. Otherwise NULL.
    const void *pointer;
    /// SJ_STRING: bytes. SJ_INT64, SJ_UINT64, SJ_DOUBLE: the bit pattern. SJ_BOOL: 0 or 1. SJ_ARRAY, SJ_OBJECT: the shim's own.
    uint64_t bits;
    uint8_t type;
    /// The object holds the name more than once; this is the first.
    bool is_repeated;
} sj_value;

/// The name of a field, or a word to compare with: unescaped UTF-8. Most are settled by one comparison of eight bytes.
typedef struct {
    const char *bytes;
    size_t length;
    /// The first eight bytes as they lie in memory, zero behind the name's end, and which of them count.
    uint64_t head;
    uint64_t mask;
} sj_name;

/// A name over bytes that stay where they are.
sj_name sj_name_of(const char *bytes, size_t length) SJ_NOEXCEPT;

/// A parser for documents of at most `max_bytes` and `max_depth` levels; NULL when there is no memory.
sj_parser *sj_parser_new(size_t max_bytes, size_t max_depth) SJ_NOEXCEPT;
void sj_parser_free(sj_parser *parser) SJ_NOEXCEPT;

/// Gives the parser's memory back (about 14 times the largest document) if that document was larger than `bytes`. Values become
/// invalid.
void sj_parser_shrink(sj_parser *parser, size_t bytes) SJ_NOEXCEPT;

/// Parses and validates a whole document, without a copy: at least 64 bytes behind it must be readable (their content does not
/// matter). Sets `root` when it answers SJ_OK.
int32_t sj_parse(sj_parser *parser, const void *document, size_t length, sj_value *root) SJ_NOEXCEPT;

/// Looks `count` fields of an object up in one pass over it. `found` gets one value a name, SJ_ABSENT where there is none.
/// Names in the order in which documents hold them are found fastest. `object` must be an SJ_OBJECT.
void sj_find(const sj_value *object, const sj_name *names, size_t count, sj_value *found) SJ_NOEXCEPT;

/// Which of `count` words an SJ_STRING is; −1: none.
ptrdiff_t sj_word(const sj_value *string, const sj_name *words, size_t count) SJ_NOEXCEPT;

/// The element of an array at `index`; SJ_ABSENT behind its end. `array` must be an SJ_ARRAY.
sj_value sj_at(const sj_value *array, size_t index) SJ_NOEXCEPT;

/// Whether bytes are valid UTF-8.
bool sj_is_utf8(const void *bytes, size_t length) SJ_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
