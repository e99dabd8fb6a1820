/* GRUCell over all steps, and its gradient. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>
#include <string.h>

enum { H = 5 };

int64_t forward(int64_t T, int64_t B, const double xs[T][B][4], double h[B][H], const double
        W_xh[4][3 * H], const double b[3 * H], const double W_hh[H][3 * H], const double b_hn[H],
        char *saved, char *work)
{
    int64_t wrong = 0;
    double (*hs)[B][H] = part(&saved, (T + 1) * sizeof *hs);
    double (*rs)[B][H] = part(&saved, T * sizeof *rs);
    double (*zs)[B][H] = part(&saved, T * sizeof *zs);
    double (*to_a_ns)[B][H] = part(&saved, T * sizeof *to_a_ns);
    double (*ns)[B][H] = part(&saved, T * sizeof *ns);
    double (*to_hs)[B][H] = part(&saved, T * sizeof *to_hs);
    double (*x_W_xhs)[B][3 * H] = part(&work, T * sizeof *x_W_xhs);
    double (*rzn_h)[3 * H] = part(&work, B * sizeof *rzn_h);

    /* What needs only the inputs: all steps at once. */
    product(T * B, 3 * H, 4, xs[0][0], W_xh[0], x_W_xhs[0][0]);

    /* The recurrence. */
    memcpy(hs[0], h, sizeof hs[0]);
    for (int64_t t = 0; t < T; t++) {
        product(B, 3 * H, H, hs[t][0], W_hh[0], rzn_h[0]);
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                const double r = rs[t][row][col] = vsigmoid(x_W_xhs[t][row][col] + b[col] + rzn_h[row][col]);
                const double z = zs[t][row][col] = vsigmoid(x_W_xhs[t][row][H + col] + b[H + col] + rzn_h[row][H + col]);
                const double to_a_n = to_a_ns[t][row][col] = rzn_h[row][2 * H + col] + b_hn[col];
                const double n = ns[t][row][col] = vtanh(x_W_xhs[t][row][2 * H + col] + b[2 * H + col] + r * to_a_n);
                const double to_h = to_hs[t][row][col] = 1.0 - z;
                hs[t + 1][row][col] = to_h * n + z * hs[t][row][col];
            }
        }
    }
    memcpy(h, hs[T], sizeof hs[0]);
    return wrong;
}

int64_t backward(int64_t T, int64_t B, const double xs[T][B][4], const double W_hh[H][3 * H], double
        d_ys[T][B][H], double d_h[B][H], double d_W_xh[4][3 * H], double d_b[3 * H], double
        d_W_hh[H][3 * H], double d_b_hn[H], char *saved, char *work)
{
    int64_t wrong = 0;
    double (*hs)[B][H] = part(&saved, (T + 1) * sizeof *hs);
    double (*rs)[B][H] = part(&saved, T * sizeof *rs);
    double (*zs)[B][H] = part(&saved, T * sizeof *zs);
    double (*to_a_ns)[B][H] = part(&saved, T * sizeof *to_a_ns);
    double (*ns)[B][H] = part(&saved, T * sizeof *ns);
    double (*to_hs)[B][H] = part(&saved, T * sizeof *to_hs);
    double (*d_hs)[B][H] = part(&work, 2 * sizeof *d_hs);
    double (*W_hh_T)[H] = part(&work, (3 * H) * sizeof *W_hh_T);
    double (*slope_h)[H] = part(&work, B * sizeof *slope_h);
    double (*d_n_hs)[B][H] = part(&work, T * sizeof *d_n_hs);
    double (*d_rzn_hs)[B][3 * H] = part(&work, T * sizeof *d_rzn_hs);
    double (*slope_h_2)[H] = part(&work, B * sizeof *slope_h_2);
    double (*d_rzn_xs)[B][3 * H] = part(&work, T * sizeof *d_rzn_xs);

    /* What does not wait for the gradient. */
    for (int64_t row = 0; row < 3 * H; row++) {
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
                const double new_d_h = d_ys[t][row][col] + d_hs[(t + 1) % 2][row][col];
                slope_h[row][col] = new_d_h * zs[t][row][col];
                const double slope_a_n = to_hs[t][row][col] * (1.0 - ns[t][row][col] * ns[t][row][col]);
                const double d_a_n = slope_a_n * new_d_h;
                const double d_n_h = d_n_hs[t][row][col] = d_a_n * rs[t][row][col];
                const double slope_a_z = (hs[t][row][col] - ns[t][row][col]) * zs[t][row][col] * to_hs[t][row][col];
                const double d_a_z = slope_a_z * new_d_h;
                const double slope_a_r = to_a_ns[t][row][col] * rs[t][row][col] * (1.0 - rs[t][row][col]);
                const double d_a_r = slope_a_r * d_a_n;
                d_rzn_hs[t][row][col] = d_a_r;
                d_rzn_hs[t][row][H + col] = d_a_z;
                d_rzn_hs[t][row][2 * H + col] = d_n_h;
                d_rzn_xs[t][row][col] = d_a_r;
                d_rzn_xs[t][row][H + col] = d_a_z;
                d_rzn_xs[t][row][2 * H + col] = d_a_n;
            }
        }
        product(B, H, 3 * H, d_rzn_hs[t][0], W_hh_T[0], slope_h_2[0]);
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                d_hs[t % 2][row][col] = slope_h[row][col] + slope_h_2[row][col];
            }
        }
    }
    memcpy(d_h, d_hs[0], sizeof d_hs[0]);

    /* The gradient of each weight, over all steps. */
    memset(d_W_xh, 0, 4 * sizeof *d_W_xh);
    product_over_rows(T * B, 4, 3 * H, xs[0][0], d_rzn_xs[0][0], d_W_xh[0]);
    memset(d_b, 0, 3 * H * sizeof *d_b);
    for (int64_t t = 0; t < T; t++) {
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < 3 * H; col++) {
                d_b[col] += d_rzn_xs[t][row][col];
            }
        }
    }
    memset(d_W_hh, 0, H * sizeof *d_W_hh);
    product_over_rows(T * B, H, 3 * H, hs[0][0], d_rzn_hs[0][0], d_W_hh[0]);
    memset(d_b_hn, 0, H * sizeof *d_b_hn);
    for (int64_t t = 0; t < T; t++) {
        for (int64_t row = 0; row < B; row++) {
            #pragma omp simd
            for (int64_t col = 0; col < H; col++) {
                d_b_hn[col] += d_n_hs[t][row][col];
            }
        }
    }
    return wrong;
}
