/* LSTMCell over all steps, and its gradient. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

enum { H = 5 };

int64_t forward(int64_t T, int64_t B, const double xs[T][B][4], double h[B][H], double c[B][H],
        const double W_xh[4][4 * H], const double W_hh[H][4 * H], const double b[4 * H], char
        *saved, char *work)
{
    int64_t wrong = 0;
    double (*hs)[B][H] = part(&saved, (T + 1) * sizeof *hs);
    double (*cs)[B][H] = part(&saved, (T + 1) * sizeof *cs);
    double (*is)[B][H] = part(&saved, T * sizeof *is);
    double (*fs)[B][H] = part(&saved, T * sizeof *fs);
    double (*gs)[B][H] = part(&saved, T * sizeof *gs);
    double (*os)[B][H] = part(&saved, T * sizeof *os);
    double (*tanh_cs)[B][H] = part(&saved, T * sizeof *tanh_cs);
    double (*x_W_xhs)[B][4 * H] = part(&work, T * sizeof *x_W_xhs);
    double (*h_W_hh)[4 * H] = part(&work, B * sizeof *h_W_hh);

    /* What needs only the inputs: all steps at once. */
    product(T * B, 4 * H, 4, xs[0][0], W_xh[0], x_W_xhs[0][0]);

    /* The recurrence. */
    memcpy(hs[0], h, sizeof hs[0]);
    memcpy(cs[0], c, sizeof cs[0]);
    for (int64_t t = 0; t < T; t++) {
        product(B, 4 * H, H, hs[t][0], W_hh[0], h_W_hh[0]);
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                const double i = is[t][row][col] = vsigmoid(x_W_xhs[t][row][col] + b[col] + h_W_hh[row][col]);
                const double f = fs[t][row][col] = vsigmoid(x_W_xhs[t][row][H + col] + b[H + col] + h_W_hh[row][H + col]);
                const double g = gs[t][row][col] = vtanh(x_W_xhs[t][row][2 * H + col] + b[2 * H + col] + h_W_hh[row][2 * H + col]);
                const double o = os[t][row][col] = vsigmoid(x_W_xhs[t][row][3 * H + col] + b[3 * H + col] + h_W_hh[row][3 * H + col]);
                const double new_c = cs[t + 1][row][col] = f * cs[t][row][col] + i * g;
                const double tanh_c = tanh_cs[t][row][col] = vtanh(new_c);
                hs[t + 1][row][col] = o * tanh_c;
            }
        }
    }
    memcpy(h, hs[T], sizeof hs[0]);
    memcpy(c, cs[T], sizeof cs[0]);
    return wrong;
}

int64_t backward(int64_t T, int64_t B, const double xs[T][B][4], const double W_hh[H][4 * H], double
        d_ys[T][B][H], double d_h[B][H], double d_c[B][H], double d_W_xh[4][4 * H], double
        d_W_hh[H][4 * H], double d_b[4 * H], char *saved, char *work)
{
    int64_t wrong = 0;
    double (*hs)[B][H] = part(&saved, (T + 1) * sizeof *hs);
    double (*cs)[B][H] = part(&saved, (T + 1) * sizeof *cs);
    double (*is)[B][H] = part(&saved, T * sizeof *is);
    double (*fs)[B][H] = part(&saved, T * sizeof *fs);
    double (*gs)[B][H] = part(&saved, T * sizeof *gs);
    double (*os)[B][H] = part(&saved, T * sizeof *os);
    double (*tanh_cs)[B][H] = part(&saved, T * sizeof *tanh_cs);
    double (*d_hs)[B][H] = part(&work, 2 * sizeof *d_hs);
    double (*d_cs)[B][H] = part(&work, 2 * sizeof *d_cs);
    double (*W_hh_T)[H] = part(&work, (4 * H) * sizeof *W_hh_T);
    double (*d_ifgos)[B][4 * H] = part(&work, T * sizeof *d_ifgos);

    /* What does not wait for the gradient. */
    for (int64_t row = 0; row < 4 * H; row++) {
        #pragma omp simd
        for (int64_t col = 0; col < H; col++) {
            W_hh_T[row][col] = W_hh[col][row];
        }
    }

    /* The recurrence, backwards. */
    memcpy(d_hs[T % 2], d_h, sizeof d_hs[0]);
    memcpy(d_cs[T % 2], d_c, sizeof d_cs[0]);
    for (int64_t t = T - 1; t >= 0; t--) {
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                const double new_d_h = d_ys[t][row][col] + d_hs[(t + 1) % 2][row][col];
                const double slope_c = os[t][row][col] * (1.0 - tanh_cs[t][row][col] * tanh_cs[t][row][col]);
                const double new_d_c = d_cs[(t + 1) % 2][row][col] + slope_c * new_d_h;
                const double slope_o = tanh_cs[t][row][col] * os[t][row][col] * (1.0 - os[t][row][col]);
                const double d_g = is[t][row][col] * (1.0 - gs[t][row][col] * gs[t][row][col]) * new_d_c;
                const double d_f = cs[t][row][col] * fs[t][row][col] * (1.0 - fs[t][row][col]) * new_d_c;
                const double d_i = gs[t][row][col] * is[t][row][col] * (1.0 - is[t][row][col]) * new_d_c;
                d_ifgos[t][row][col] = d_i;
                d_ifgos[t][row][H + col] = d_f;
                d_ifgos[t][row][2 * H + col] = d_g;
                d_ifgos[t][row][3 * H + col] = slope_o * new_d_h;
                d_cs[t % 2][row][col] = new_d_c * fs[t][row][col];
            }
        }
        product(B, H, 4 * H, d_ifgos[t][0], W_hh_T[0], d_hs[t % 2][0]);
    }
    memcpy(d_h, d_hs[0], sizeof d_hs[0]);
    memcpy(d_c, d_cs[0], sizeof d_cs[0]);

    /* The gradient of each weight, over all steps. */
    memset(d_W_xh, 0, 4 * sizeof *d_W_xh);
    product_over_rows(T * B, 4, 4 * H, xs[0][0], d_ifgos[0][0], d_W_xh[0]);
    memset(d_W_hh, 0, H * sizeof *d_W_hh);
    product_over_rows(T * B, H, 4 * H, hs[0][0], d_ifgos[0][0], d_W_hh[0]);
    memset(d_b, 0, 4 * H * sizeof *d_b);
    for (int64_t t = 0; t < T; t++) {
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < 4 * H; col++) {
                d_b[col] += d_ifgos[t][row][col];
            }
        }
    }
    return wrong;
}
