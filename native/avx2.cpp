// The kernels for AVX2: 8 lanes in a vector; tables of shuffles stand in for AVX-512's compress and expand.
#include <immintrin.h>

#include "scalar.hpp"

namespace intaglio {
namespace {

constexpr std::size_t kWidth = 8;

// For each set of 8: shuffles that pack its members towards the low or the high end, and that undo the former.
struct Shuffles {
    alignas(64) std::uint8_t compress8[256][8];
    alignas(64) std::uint8_t compress16[256][16];
    alignas(64) std::uint8_t compress_up[256][16];  // 16 bits, towards the high end
    alignas(64) std::uint8_t expand16[256][16];     // zero to the others
    alignas(64) std::uint8_t expand32[256][8];      // in units of 32 bits
};

constexpr Shuffles make_shuffles() {
    Shuffles shuffles{};
    for (unsigned set = 0; set < 256; ++set) {
        const unsigned gap = 8 - static_cast<unsigned>(__builtin_popcount(set));
        unsigned count = 0;
        for (unsigned i = 0; i < 8; ++i) {
            shuffles.expand32[set][i] = static_cast<std::uint8_t>(count);
            const bool member = set >> i & 1;
            for (unsigned half = 0; half < 2; ++half) {
                shuffles.expand16[set][2 * i + half] = static_cast<std::uint8_t>(member ? 2 * count + half : 0x80);
                if (!member) continue;
                shuffles.compress16[set][2 * count + half] = static_cast<std::uint8_t>(2 * i + half);
                shuffles.compress_up[set][2 * (gap + count) + half] = static_cast<std::uint8_t>(2 * i + half);
            }
            if (member) shuffles.compress8[set][count++] = static_cast<std::uint8_t>(i);
        }
    }
    return shuffles;
}

constexpr Shuffles kShuffles = make_shuffles();

// Members among 64 symbols, eight at a time.
inline unsigned members(const Block& block, std::size_t at) {
    return static_cast<unsigned>(block.coded[at / 64] >> at % 64 & 0xff);
}

inline std::size_t lowest(unsigned set) { return static_cast<std::size_t>(__builtin_ctz(set)); }

inline std::size_t ones(unsigned set) { return static_cast<std::size_t>(_mm_popcnt_u32(set)); }

inline __m128i load16(const void* at) { return _mm_loadu_si128(static_cast<const __m128i*>(at)); }

// 256 flags as bits: byte `low` of a table holds those of the rows whose low 4 bits are `low`, the first table for high
// bits 0 to 7, the second for 8 to 15.
struct Flags {
    __m256i first;
    __m256i second;
};

inline Flags load_flags(const std::uint8_t* certain) {
    alignas(16) std::uint8_t table[2][16] = {};
    for (unsigned row = 0; row < kMaxTables; ++row)
        table[row >> 7][row & 15] |= static_cast<std::uint8_t>((certain[row] & 1) << (row >> 4 & 7));
    return {_mm256_broadcastsi128_si256(load16(table[0])), _mm256_broadcastsi128_si256(load16(table[1]))};
}

// Which of 32 rows are coded.
inline std::uint32_t find_coded(Flags flags, __m256i row) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i low = _mm256_and_si256(row, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(row, 4), nibble);
    const __m256i first = _mm256_shuffle_epi8(flags.first, low);
    const __m256i bits = _mm256_blendv_epi8(first, _mm256_shuffle_epi8(flags.second, low), row);  // by the top bit
    const __m256i powers = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201));
    const __m256i flag = _mm256_and_si256(bits, _mm256_shuffle_epi8(powers, high));
    return static_cast<std::uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(flag, _mm256_setzero_si256())));
}

void select(const View& view, const std::uint8_t* rows, std::size_t size, Block& block) {
    const Flags flags = load_flags(view.certain);
    std::size_t count = 0;
    for (std::size_t start = 0; start < size; start += 32) {
        const std::size_t part = size - start < 32 ? size - start : 32;
        alignas(32) std::uint8_t last[32] = {};
        if (part < 32) std::memcpy(last, rows + start, part);
        const std::uint8_t* const from = part < 32 ? last : rows + start;
        const __m256i row = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
        const std::uint32_t coded = find_coded(flags, row) & ~std::uint32_t{0} >> (32 - part);
        if (start % 64 == 0) block.coded[start / 64] = 0;
        block.coded[start / 64] |= static_cast<std::uint64_t>(coded) << start % 64;
        for (std::size_t i = 0; i < 32; i += 8) {
            const unsigned set = coded >> i & 0xff;
            const __m128i order = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kShuffles.compress8[set]));
            const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + i));
            _mm_storel_epi64(reinterpret_cast<__m128i*>(block.rows + count), _mm_shuffle_epi8(eight, order));
            count += ones(set);
        }
    }
    block.count = count;
}

inline __m128i load8(const std::int16_t* symbols) { return load16(symbols); }

inline __m128i load8(const std::int32_t* symbols) { return _mm_packs_epi32(load16(symbols), load16(symbols + 4)); }

template <class Symbol>
void gather(const Symbol* symbols, std::size_t size, Block& block) {
    std::size_t count = 0;
    block.marked = 0;
    for (std::size_t at = 0; at < size; at += 8) {
        Symbol last[8] = {};
        if (size - at < 8) std::memcpy(last, symbols + at, (size - at) * sizeof *last);
        const unsigned set = members(block, at);
        const __m128i symbol = load8(size - at < 8 ? last : symbols + at);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(block.symbols + count),
                         _mm_shuffle_epi8(symbol, load16(kShuffles.compress16[set])));
        count += ones(set);
        const __m128i zero = _mm_packs_epi16(_mm_cmpeq_epi16(symbol, _mm_setzero_si128()), _mm_setzero_si128());
        unsigned surprises = ~(set | static_cast<unsigned>(_mm_movemask_epi8(zero))) & 0xff;
        for (; surprises != 0; surprises &= surprises - 1)
            block.marks[block.marked++] = static_cast<std::uint16_t>(at + lowest(surprises));
    }
}

void scatter(const Block& block, std::int32_t* symbols, std::size_t size) {
    std::size_t count = 0;
    for (std::size_t at = 0; at < size; at += 8) {
        const unsigned set = members(block, at);
        const __m128i symbol = _mm_shuffle_epi8(load16(block.symbols + count), load16(kShuffles.expand16[set]));
        count += ones(set);
        alignas(32) std::int32_t last[8];
        std::int32_t* const to = size - at < 8 ? last : symbols + at;
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_cvtepi16_epi32(symbol));
        if (size - at < 8) std::memcpy(symbols + at, last, (size - at) * sizeof *last);
    }
}

// Eight table entries of 64 bits, as their low and their high halves.
struct Entries {
    __m256i low;
    __m256i high;
};

inline Entries look_up(const void* table, __m256i index) {
    const auto* base = static_cast<const long long*>(table);
    // shuffle_ps interleaves within halves of a vector: fetching in the order 0 1 4 5, 2 3 6 7 puts that right
    const __m256i order = _mm256_permute4x64_epi64(index, 0xd8);
    const __m256 a = _mm256_castsi256_ps(_mm256_i32gather_epi64(base, _mm256_castsi256_si128(order), 8));
    const __m256 b = _mm256_castsi256_ps(_mm256_i32gather_epi64(base, _mm256_extracti128_si256(order, 1), 8));
    return {_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xdd))};
}

inline __m256i low_half(__m256i value) { return _mm256_and_si256(value, _mm256_set1_epi32(0xffff)); }

// All ones where a >= b, both unsigned.
inline __m256i at_least(__m256i a, __m256i b) { return _mm256_cmpeq_epi32(_mm256_max_epu32(a, b), a); }

inline unsigned lanes_of(__m256i mask) { return static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(mask))); }

inline __m128i pack16(__m256i value) {
    const __m256i packed = _mm256_packus_epi32(low_half(value), _mm256_setzero_si256());
    return _mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0x08));
}

inline __m256 to_float(__m256i value) {  // AVX2 converts signed integers only
    const __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(value, 16));
    return _mm256_add_ps(_mm256_mul_ps(high, _mm256_set1_ps(65536.0f)), _mm256_cvtepi32_ps(low_half(value)));
}

inline __m256i load_rows(const Block& block, std::size_t at) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(block.rows + at)));
}

// Replaces the cells of symbols that are not in the table of near ones.
[[gnu::noinline]] void find_far(const View& view, Block& block, std::size_t at, unsigned far, Entries& cell) {
    alignas(32) std::uint32_t low[kWidth];
    alignas(32) std::uint32_t high[kWidth];
    _mm256_store_si256(reinterpret_cast<__m256i*>(low), cell.low);
    _mm256_store_si256(reinterpret_cast<__m256i*>(high), cell.high);
    for (std::size_t i = kWidth; i-- > 0;) {
        if ((far >> i & 1) == 0) continue;
        const Cell& found = cell_of(view, block, at + i);
        std::memcpy(low + i, &found, 4);
        std::memcpy(high + i, &found.reciprocal, 4);
    }
    cell.low = _mm256_load_si256(reinterpret_cast<const __m256i*>(low));
    cell.high = _mm256_load_si256(reinterpret_cast<const __m256i*>(high));
}

inline std::uint8_t* encode_vector(const View& view, std::uint32_t* states, Block& block, std::size_t at,
                                   std::uint8_t* words) {
    auto* const place = reinterpret_cast<__m256i*>(states);
    __m256i state = _mm256_load_si256(place);
    const __m128i symbols = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.symbols + at));
    const __m256i shifted = _mm256_add_epi32(_mm256_cvtepi16_epi32(symbols), _mm256_set1_epi32(kNear / 2));
    const __m256i column = _mm256_and_si256(shifted, _mm256_set1_epi32(kNear - 1));
    const __m256i row = _mm256_slli_epi32(load_rows(block, at), kNearBits);
    Entries cell = look_up(view.near, _mm256_or_si256(row, column));  // start, frequency; reciprocal
    __m256i frequency = _mm256_srli_epi32(cell.low, 16);
    const __m256i near = _mm256_andnot_si256(_mm256_cmpeq_epi32(frequency, _mm256_setzero_si256()),
                                             _mm256_cmpeq_epi32(shifted, column));
    const unsigned far = 0xff & ~lanes_of(near);
    if (far != 0) [[unlikely]] {
        find_far(view, block, at, far, cell);
        frequency = _mm256_srli_epi32(cell.low, 16);
    }
    const __m256i full = at_least(state, _mm256_slli_epi32(frequency, 32 - kPrecision));
    const unsigned leaving = lanes_of(full);
    const __m128i order = _mm_load_si128(reinterpret_cast<const __m128i*>(kShuffles.compress_up[leaving]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words - 16), _mm_shuffle_epi8(pack16(state), order));
    words -= 2 * _mm_popcnt_u32(leaving);
    state = _mm256_blendv_epi8(state, _mm256_srli_epi32(state, 16), full);
    const __m256 product = _mm256_mul_ps(to_float(state), _mm256_castsi256_ps(cell.high));
    const __m256i quotient = _mm256_cvttps_epi32(product);
    const __m256i rest = _mm256_sub_epi32(state, _mm256_mullo_epi32(quotient, frequency));
    const __m256i whole = _mm256_add_epi32(_mm256_slli_epi32(quotient, kPrecision), low_half(cell.low));
    const __m256i one_more = _mm256_sub_epi32(_mm256_set1_epi32(kTotal), frequency);
    const __m256i correction = _mm256_and_si256(at_least(rest, frequency), one_more);
    _mm256_store_si256(place, _mm256_add_epi32(_mm256_add_epi32(whole, rest), correction));
    return words;
}

std::uint8_t* encode(const View& tables, Lanes& lanes, Block& block, std::size_t last, std::uint8_t* words) {
    const View view = tables;  // a copy that no store can change
    const std::size_t turn = lanes.count - 1;
    const std::size_t whole = lanes.count < kWidth ? 0 : last / kWidth * kWidth;
    for (std::size_t at = last; at-- > whole;) words = encode_one(view, lanes.state[at & turn], block, at, words);
    for (std::size_t at = whole; at > 0;) {
        at -= kWidth;
        words = encode_vector(view, lanes.state + (at & turn), block, at, words);
    }
    return words;
}

inline __m256i decode_vector(const View& view, __m256i state, Block& block, std::size_t at) {
    const __m256i slot = _mm256_and_si256(state, _mm256_set1_epi32(kTotal - 1));
    const __m256i row = _mm256_slli_epi32(load_rows(block, at), kBucketBits);
    const Entries bucket = look_up(view.buckets, _mm256_or_si256(row, _mm256_srli_epi32(slot, kBucketShift)));
    const __m256i left = _mm256_srli_epi32(bucket.low, 16);  // low: start and left; high: symbol and right
    const __m256i start = low_half(bucket.low);
    const __m256i middle = _mm256_add_epi32(start, left);
    const __m256i right = at_least(slot, middle);
    const __m256i frequency = _mm256_blendv_epi8(left, _mm256_srli_epi32(bucket.high, 16), right);
    const __m256i rest = _mm256_sub_epi32(slot, _mm256_blendv_epi8(start, middle, right));
    const __m128i symbols = pack16(_mm256_sub_epi32(bucket.high, right));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(block.symbols + at), symbols);
    const __m256i quotient = _mm256_srli_epi32(state, kPrecision);
    const __m256i next = _mm256_add_epi32(_mm256_mullo_epi32(frequency, quotient), rest);
    const unsigned missed = lanes_of(at_least(rest, frequency));
    if (missed == 0) [[likely]]
        return next;
    alignas(32) std::uint32_t states[kWidth];
    alignas(32) std::uint32_t fixed[kWidth];
    _mm256_store_si256(reinterpret_cast<__m256i*>(states), state);
    _mm256_store_si256(reinterpret_cast<__m256i*>(fixed), next);
    for (std::size_t i = 0; i < kWidth; ++i)
        if (missed >> i & 1) fixed[i] = take_missed(view, block, at + i, states[i]);
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(fixed));
}

// Puts the rows of odd states to those of their tables.
inline void before_step(Block& block, std::size_t at, __m256i state) {
    const __m256i odd = _mm256_slli_epi32(_mm256_and_si256(state, _mm256_set1_epi32(1)), 6);
    const __m256i row = _mm256_or_si256(load_rows(block, at), odd);
    const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(row), _mm256_extracti128_si256(row, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(block.rows + at), _mm_packus_epi16(packed, packed));
}

// States after the symbols; see next_state in scalar.hpp.
inline __m256i after_step(const Block& block, std::size_t at, __m256i state) {
    const __m128i symbols = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.symbols + at));
    const __m256i odd = _mm256_and_si256(_mm256_cvtepi16_epi32(symbols), _mm256_set1_epi32(1));
    const __m256i nibbles = _mm256_set1_epi32(static_cast<int>(kNextStates));
    const __m256i even = _mm256_srlv_epi32(nibbles, _mm256_slli_epi32(state, 2));
    return _mm256_xor_si256(_mm256_and_si256(even, _mm256_set1_epi32(7)), _mm256_slli_epi32(odd, 1));
}

template <class Way>
inline bool decode_by(const View& tables, Lanes& lanes, Block& block, Span span, Words& words, Way way) {
    const auto [first, last] = span;
    Chains* const chains = way.states();
    const View view = tables;  // copies that no store can change
    Words rest = words;
    const std::size_t turn = lanes.count - 1;
    const bool vectors = lanes.count >= kWidth && (!chains || (chains->count >= kWidth && first % kWidth == 0));
    const std::size_t whole = vectors ? (last - first) / kWidth * kWidth : 0;
    for (std::size_t at = first; at < first + whole; at += kWidth) {
        auto* const place = reinterpret_cast<__m256i*>(lanes.state + ((at - first) & turn));
        auto* const chain = chains ? reinterpret_cast<__m256i*>(chains->state + (at & (chains->count - 1))) : nullptr;
        if (chains) before_step(block, at, _mm256_load_si256(chain));
        const __m256i state = decode_vector(view, _mm256_load_si256(place), block, at);
        if (chains) _mm256_store_si256(chain, after_step(block, at, _mm256_load_si256(chain)));
        const __m256i empty = _mm256_cmpeq_epi32(_mm256_srli_epi32(state, 16), _mm256_setzero_si256());
        const unsigned taking = lanes_of(empty);
        const __m128i order = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(kShuffles.expand32[taking]));
        const __m128i next = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rest.next));
        const __m256i word = _mm256_permutevar8x32_epi32(_mm256_cvtepu16_epi32(next), _mm256_cvtepu8_epi32(order));
        const __m256i fed = _mm256_or_si256(_mm256_slli_epi32(state, 16), word);
        _mm256_store_si256(place, _mm256_blendv_epi8(state, fed, empty));
        rest.next += 2 * _mm_popcnt_u32(taking);
        if (rest.next > rest.end) return false;
    }
    words = rest;
    return decode_from(view, lanes, block, {first, first + whole, last}, words, way);
}

bool decode(const View& view, Lanes& lanes, Block& block, std::size_t first, std::size_t last, Words& words) {
    return decode_by(view, lanes, block, {first, last}, words, Alone{});
}

bool follow(const View& view, Lanes& lanes, Block& block, Chains& chains, Span span, Words& words) {
    return decode_by(view, lanes, block, span, words, Following{chains});
}

}  // namespace

constinit const Kernels kAvx2{
    "avx2", select, gather<std::int16_t>, gather<std::int32_t>, scatter, encode, decode, follow};

}  // namespace intaglio
