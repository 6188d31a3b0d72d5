// The C face of simdjson for Swift: parse a whole document, look fields up, read values. No policy.
#ifndef SLUICE_CSIMDJSON_H
#define SLUICE_CSIMDJSON_H
#endif
