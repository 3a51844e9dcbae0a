// The inner loops of the coder: what they work on, and their three implementations.
//
// All implementations give the same words and symbols; docs/format.md defines them as a scalar loop. This header holds
// plain data only, and nothing that a linker could merge: it is compiled once for each instruction set, and code for
// AVX-512 must never stand in for the portable one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace intaglio {

inline constexpr int kPrecision = 15;  // frequencies of a table sum to 2^15
inline constexpr std::uint32_t kTotal = 1u << kPrecision;
inline constexpr std::uint32_t kLower = 1u << 16;  // states live in [kLower, 2^32)
inline constexpr std::size_t kMaxTables = 256;     // what an 8-bit index can name
inline constexpr std::size_t kMaxLanes = 64;  // more are no faster
inline constexpr std::size_t kBlock = 8192;  // symbols that are regrouped together
inline constexpr std::size_t kSlack = 64;    // bytes that a kernel may read or write beyond the end of a block's arrays
inline constexpr int kBucketBits = 7;        // the look-up narrows a slot to 1/128 of a table
inline constexpr int kBucketShift = kPrecision - kBucketBits;
inline constexpr int kNearBits = 6;  // symbols -32 .. 31 have their cells in a table of their own
inline constexpr int kNear = 1 << kNearBits;
inline constexpr std::size_t kMostChains = 64;  // of a slice that is coded by a trellis, see trellis.hpp
inline constexpr std::uint8_t kTwin = 64;      // its symbols of odd states are coded with the table so much further on
inline constexpr std::uint32_t kNextStates = 0x73426150;  // the state after an even symbol, four bits for each state

// The two neighbouring cells that own most of a bucket's slots. The escape is never among them: its frequency here is
// 0, so that its slots, like those of a third cell, count as missed.
struct Bucket {
    std::uint16_t start;   // first slot of the left cell
    std::uint16_t left;    // its frequency: the right cell begins at start + left
    std::uint16_t symbol;  // of the left cell, an int16; the right one stands for the next
    std::uint16_t right;   // frequency of the right cell
};

struct Row {
    std::uint32_t base;     // number of the table's first cell among the cells of all tables
    std::int16_t first;     // symbol of that cell
    std::uint16_t regular;  // cells that stand for a symbol; the escape follows them
};

struct Cell {
    std::uint16_t start;
    std::uint16_t frequency;
    float reciprocal;  // a little below 1 / frequency, see put in scalar.hpp
};

// Tables as the kernels see them.
struct View {
    const Bucket* buckets;        // 1 << kBucketBits for each table
    const Row* rows;              // one for each table
    const Cell* cells;            // of all tables
    const Cell* near;             // kNear for each table; frequency 0 where the table has no such symbol
    const std::uint8_t* certain;  // 255 for tables that code nothing, else 0
};

struct Lanes {
    alignas(64) std::uint32_t state[kMaxLanes];
    std::size_t count;  // a power of two
};

// States 0 to 7 of the chains of a trellis.
struct Chains {
    alignas(64) std::uint32_t state[kMostChains];
    std::size_t count;  // a power of two
};

// Coded symbols of a block, in order. Symbols are clamped to int16: the ends of its range are in no table.
struct Block {
    alignas(64) std::uint8_t rows[kBlock + kSlack];
    alignas(64) std::int16_t symbols[kBlock + kSlack];
    std::uint64_t coded[kBlock / 64];  // bit i of word w: symbol 64 w + i of the block is coded
    std::size_t count;                 // coded symbols
    std::uint16_t marks[kBlock + 1];   // what a kernel found
    std::size_t marked;                // how many marks there are
};

// Words between `next` and `end`, two bytes each; a vector of them may be read beyond `end`, two bytes a lane at most.
struct Words {
    const std::uint8_t* next;
    const std::uint8_t* end;
};

// Symbols of a block from one to before another.
struct Span {
    std::size_t first;
    std::size_t last;
};

struct Kernels {
    const char* name;

    // Sets block.rows, block.coded and block.count from the rows of `size` symbols, 1 to kBlock of them.
    void (*select)(const View& view, const std::uint8_t* rows, std::size_t size, Block& block);

    // Sets block.symbols; marks the places (in the block) of symbols that are neither coded nor zero.
    void (*gather16)(const std::int16_t* symbols, std::size_t size, Block& block);
    void (*gather32)(const std::int32_t* symbols, std::size_t size, Block& block);

    // The inverse: coded symbols to their places, zero to the others.
    void (*scatter)(const Block& block, std::int32_t* symbols, std::size_t size);

    // Codes block.symbols[0 .. last) backwards; number j belongs to lane j % lanes.count. Writes words downwards from
    // `words`, two bytes a symbol at most, and may spoil 16 bytes below; returns the lowest word. Adds the numbers of
    // escapes to the marks, descending.
    std::uint8_t* (*encode)(const View& view, Lanes& lanes, Block& block, std::size_t last, std::uint8_t* words);

    // Decodes block.symbols[first .. last); number first + j belongs to lane j % lanes.count. Adds the numbers of
    // escapes to the marks, ascending. Returns false if there are not words enough.
    bool (*decode)(const View& view, Lanes& lanes, Block& block, std::size_t first, std::size_t last, Words& words);

    // The same for a trellis; number i belongs to chain i % chains.count. Rows come below kTwin, and leave as those of the
    // tables that the symbols were coded with.
    bool (*follow)(const View& view, Lanes& lanes, Block& block, Chains& chains, Span span, Words& words);
};

extern const Kernels kPortable;
extern const Kernels kAvx2;
extern const Kernels kAvx512;

}  // namespace intaglio
