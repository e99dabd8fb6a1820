/* ElmanCell over all steps, and its gradient. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

enum { H = 5 };

int64_t forward(int64_t T, int64_t B, const double xs[T][B][4], double h[B][H], const double
        W_xh[4][H], const double W_hh[H][H], const double b[H], char *saved, char *work)
{
    int64_t wrong = 0;
    double (*hs)[B][H] = part(&saved, (T + 1) * sizeof *hs);
    double (*x_W_xhs)[B][H] = part(&work, T * sizeof *x_W_xhs);
    double (*h_W_hh)[H] = part(&work, B * sizeof *h_W_hh);

    /* What needs only the inputs: all steps at once. */
    product(T * B, H, 4, xs[0][0], W_xh[0], x_W_xhs[0][0]);

    /* The recurrence. */
    memcpy(hs[0], h, sizeof hs[0]);
    for (int64_t t = 0; t < T; t++) {
        product(B, H, H, hs[t][0], W_hh[0], h_W_hh[0]);
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                hs[t + 1][row][col] = vtanh(x_W_xhs[t][row][col] + b[col] + h_W_hh[row][col]);
            }
        }
    }
    memcpy(h, hs[T], sizeof hs[0]);
    return wrong;
}

int64_t backward(int64_t T, int64_t B, const double xs[T][B][4], const double W_hh[H][H], double
        d_ys[T][B][H], double d_h[B][H], double d_W_xh[4][H], double d_W_hh[H][H], double d_b[H],
        char *saved, char *work)
{
    int64_t wrong = 0;
    double (*hs)[B][H] = part(&saved, (T + 1) * sizeof *hs);
    double (*d_hs)[B][H] = part(&work, 2 * sizeof *d_hs);
    double (*W_hh_T)[H] = part(&work, H * sizeof *W_hh_T);
    double (*d_a_hs)[B][H] = part(&work, T * sizeof *d_a_hs);

    /* What does not wait for the gradient. */
    for (int64_t row = 0; row < H; row++) {
        #pragma omp simd
        for (int64_t col = 0; col < H; col++) {
            W_hh_T[row][col] = W_hh[col][row];
        }
    }

    /* The recurrence, backwards. */
    memcpy(d_hs[T % 2], d_h, sizeof d_hs[0]);
    for (int64_t t = T - 1; t >= 0; t--) {
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                d_a_hs[t][row][col] = (d_ys[t][row][col] + d_hs[(t + 1) % 2][row][col]) * (1.0 - hs[t + 1][row][col] * hs[t + 1][row][col]);
            }
        }
        product(B, H, H, d_a_hs[t][0], W_hh_T[0], d_hs[t % 2][0]);
    }
    memcpy(d_h, d_hs[0], sizeof d_hs[0]);

    /* The gradient of each weight, over all steps. */
    memset(d_W_xh, 0, 4 * sizeof *d_W_xh);
    product_over_rows(T * B, 4, H, xs[0][0], d_a_hs[0][0], d_W_xh[0]);
    memset(d_W_hh, 0, H * sizeof *d_W_hh);
    product_over_rows(T * B, H, H, hs[0][0], d_a_hs[0][0], d_W_hh[0]);
    memset(d_b, 0, H * sizeof *d_b);
    for (int64_t t = 0; t < T; t++) {
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                d_b[col] += d_a_hs[t][row][col];
            }
        }
    }
    return wrong;
}
