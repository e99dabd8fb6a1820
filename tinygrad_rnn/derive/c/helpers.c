/* What the C text of a program calls: it is given those that it uses. The f variants for float that
   are not written here are made from those for double. */

static inline double vexp(double x)
{ /* Cody and Waite: x = k log 2 + r, and the power of two is put into the exponent in two halves. */
    double z = x < -746.0 ? -746.0 : x > 710.0 ? 710.0 : x;
    double shifted = z * 1.4426950408889634 + 6755399441055744.0; /* its last bits are k */
    double k = shifted - 6755399441055744.0;
    double high = z - k * 6.93147180369123816490e-01, r = high - k * 1.90821492927058770002e-10;
    double rest = high - r - k * 1.90821492927058770002e-10; /* what r has been rounded by */
    double q = 2.510038319586702e-08; /* (exp(r) - 1 - r) / r² at the zeros of a Chebyshev polynomial */
    q = q * r + 2.7620085455018414e-07;
    q = q * r + 2.7557268464831627e-06;
    q = q * r + 2.4801521302241082e-05;
    q = q * r + 0.00019841269863050506;
    q = q * r + 0.001388888891720967;
    q = q * r + 0.008333333333330063;
    q = q * r + 0.041666666666624136;
    q = q * r + 0.16666666666666669;
    q = q * r + 0.5;
    union { double value; int64_t bits; } n = {shifted}, one, other;
    n.bits -= 0x4338000000000000;
    one.bits = ((n.bits >> 1) + 1023) << 52;
    other.bits = (n.bits - (n.bits >> 1) + 1023) << 52;
    return (1.0 + (r + (r * r * q + rest))) * one.value * other.value;
}

static inline float vexpf(float x)
{
    float z = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    float shifted = z * 1.44269504f + 12582912.0f;
    float k = shifted - 12582912.0f;
    float high = z - k * 0.693359375f, r = high + k * 2.12194440e-4f;
    float rest = high - r + k * 2.12194440e-4f;
    float q = 1.98909885e-04f;
    q = q * r + 1.39336479e-03f;
    q = q * r + 8.33331093e-03f;
    q = q * r + 4.16664649e-02f;
    q = q * r + 1.66666667e-01f;
    q = q * r + 0.5f;
    union { float value; int32_t bits; } n = {shifted}, one, other;
    n.bits -= 0x4B400000;
    one.bits = ((n.bits >> 1) + 127) << 23;
    other.bits = (n.bits - (n.bits >> 1) + 127) << 23;
    return (1.0f + (r + (r * r * q + rest))) * one.value * other.value;
}

static inline double vtanh(double x)
{ /* 1 - 2 / (exp(2x) + 1); near 0 the quotient of polynomials of Cephes. One division for both. */
    double size = fabs(x), z = size * size;
    double e = vexp(2.0 * size);
    double p = -9.64399179425052238628e-01 * z - 9.92877231001918586564e+01;
    double q = z + 1.12811678491632931402e+02;
    p = p * z - 1.61468768441708447952e+03;
    q = (q * z + 2.23548839060100448583e+03) * z + 4.84406305325125486048e+03;
    double top = size < 0.625 ? size * z * p : -2.0;
    double bottom = size < 0.625 ? q : e + 1.0;
    return copysign((size < 0.625 ? size : 1.0) + top / bottom, x);
}

static inline float vtanhf(float x)
{
    float size = fabsf(x), z = size * size;
    float p = -5.70498872745e-03f * z + 2.06390887954e-02f;
    p = (p * z - 5.37397155531e-02f) * z + 1.33314422036e-01f;
    p = p * z - 3.33332819422e-01f;
    float far = 1.0f - 2.0f / (vexpf(2.0f * size) + 1.0f);
    return copysignf(size < 0.625f ? size + size * z * p : far, x);
}

static inline double vsigmoid(double x)
{ /* 1 / (1 + exp(-x)); below 0 the small numbers are exp(x), never 0: they have a logarithm. */
    double size = fabs(x), e = vexp(size > 709.0 ? -709.0 : -size);
    double sum = 1.0 + e, rest = 1.0 - sum + e; /* what the sum has been rounded by */
    double y = (x < 0.0 ? e : 1.0) / sum;
    return y - y * rest * (x < 0.0 ? 1.0 - y : y);
}

static inline float vsigmoidf(float x)
{
    float size = fabsf(x), e = vexpf(size > 88.0f ? -88.0f : -size);
    float sum = 1.0f + e, rest = 1.0f - sum + e; /* what the sum has been rounded by */
    float y = (x < 0.0f ? e : 1.0f) / sum;
    return y - y * rest * (x < 0.0f ? 1.0f - y : y);
}

static inline double vmaximum(double a, double b) /* as in NumPy, of NaN and a number it is NaN */
{
    return a >= b || a != a ? a : b;
}

static inline double vminimum(double a, double b)
{
    return a <= b || a != a ? a : b;
}

static inline double vsign(double x)
{
    return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x;
}

#define where(condition, a, b) ((condition) ? (a) : (b))

static inline int64_t entry(int64_t k, int64_t size, int64_t *wrong) /* an index as in NumPy */
{
    bool fits = -size <= k && k < size;
    *wrong += !fits;
    return !fits ? 0 : k < 0 ? k + size : k;
}

static void *part(char **memory, size_t bytes) /* the next part of it, on a line of the cache */
{
    void *here = *memory;
    *memory += (bytes + 63) / 64 * 64;
    return here;
}

typedef void (*gemm)(int, int, int, BLAS_INT, BLAS_INT, BLAS_INT, double, const double *, BLAS_INT,
                     const double *, BLAS_INT, double, double *, BLAS_INT);
static gemm blas;
void use_blas(gemm found)
{
    blas = found;
}

static inline void product(int64_t m, int64_t n, int64_t k, const double *a, const double *b,
                           double *restrict c)
{ /* c = a b, by BLAS if that is worth a call */
    if (blas && m >= 4 && n * k > 512) {
        blas(101, 111, 111, m, n, k, 1.0, a, k, b, n, 0.0, c, n);
        return;
    }
    for (int64_t row = 0; row < m; row++) {
        double *restrict to = c + row * n;
        const double *by = a + row * k;
        int64_t from = 0;
        #pragma omp simd
        for (int64_t col = 0; col < n; col++)
            to[col] = 0.0;
        for (; from + 4 <= k; from += 4) {
            const double *w = b + from * n;
            #pragma omp simd
            for (int64_t col = 0; col < n; col++)
                to[col] += by[from] * w[col] + by[from + 1] * w[n + col]
                           + by[from + 2] * w[2 * n + col] + by[from + 3] * w[3 * n + col];
        }
        for (; from < k; from++)
            #pragma omp simd
            for (int64_t col = 0; col < n; col++)
                to[col] += by[from] * b[from * n + col];
    }
}

static inline void product_over_rows(int64_t rows, int64_t m, int64_t n, const double *a,
                                     const double *b, double *restrict c)
{ /* c += aᵀ b */
    if (blas && rows >= 64 && m * n > 512) {
        blas(101, 112, 111, m, n, rows, 1.0, a, m, b, n, 1.0, c, n);
        return;
    }
    int64_t row = 0;
    for (; row + 4 <= rows; row += 4, a += 4 * m, b += 4 * n)
        for (int64_t k = 0; k < m; k++) {
            double *restrict to = c + k * n;
            #pragma omp simd
            for (int64_t col = 0; col < n; col++)
                to[col] += a[k] * b[col] + a[m + k] * b[n + col]
                           + a[2 * m + k] * b[2 * n + col] + a[3 * m + k] * b[3 * n + col];
        }
    for (; row < rows; row++, a += m, b += n)
        for (int64_t k = 0; k < m; k++)
            #pragma omp simd
            for (int64_t col = 0; col < n; col++)
                c[k * n + col] += a[k] * b[col];
}
