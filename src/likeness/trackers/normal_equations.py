"""One Gauss-Newton step of aligning points with a picture, compiled: looked up, weighed, summed."""

import numpy as np

from likeness.ops.jit import njit

_FAST = {"contract", "nsz", "arcp"}


@njit(error_model="numpy", fastmath=_FAST)
def _mixed(a, b, share):
    return a + share * (b - a)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def look_up(plane, smaller, pixels, values, slopes, inside):
    """Bilinear values and slopes (to the right, down) of a picture's three channels at points.

    `plane` [H, W, 3] in 255ths, so many times `smaller` than the picture that `pixels` and slopes
    are of; a slope is the difference of the values one pixel to each side. Outside, the border goes
    on.
    """
    height, width = plane.shape[:2]
    once, half = np.float32(1 / 255), np.float32(0.5 / 255 / smaller)
    for n in range(pixels.shape[0]):
        x, y = pixels[n, 0] / smaller, pixels[n, 1] / smaller
        known = np.isfinite(x) and np.isfinite(y)
        well = known and x > 2 and y > 2 and x < width - 2 and y < height - 2
        inside[n] = 1.0 if well else 0.0
        x = min(max(x - 0.5, 0.0), width - 1.0) if known else 0.0
        y = min(max(y - 0.5, 0.0), height - 1.0) if known else 0.0
        left, top = min(int(x), max(width - 2, 0)), min(int(y), max(height - 2, 0))
        u, v = np.float32(x - left), np.float32(y - top)
        right, low = min(left + 1, width - 1), min(top + 1, height - 1)
        further, beyond = min(left + 2, width - 1), min(top + 2, height - 1)
        before, over = max(left - 1, 0), max(top - 1, 0)
        for c in range(3):
            a, b = plane[top, left, c], plane[top, right, c]
            d, e = plane[low, left, c], plane[low, right, c]
            values[n, c] = once * _mixed(_mixed(a, b, u), _mixed(d, e, u), v)
            above = _mixed(b - plane[top, before, c], plane[top, further, c] - a, u)
            below = _mixed(e - plane[low, before, c], plane[low, further, c] - d, u)
            slopes[n, c, 0] = half * _mixed(above, below, v)
            first = _mixed(d - plane[over, left, c], plane[beyond, left, c] - a, v)
            second = _mixed(e - plane[over, right, c], plane[beyond, right, c] - b, v)
            slopes[n, c, 1] = half * _mixed(first, second, u)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def light(colours, values, weight):
    """Gain and offset per channel that fit best, near 1 and 0."""
    gain, offset = np.empty(3), np.empty(3)
    total = 0.0
    for n in range(weight.shape[0]):
        total += weight[n]
    for c in range(3):
        mean_c, mean_v = 0.0, 0.0
        for n in range(weight.shape[0]):
            mean_c += weight[n] * colours[n, c]
            mean_v += weight[n] * values[n, c]
        mean_c, mean_v = mean_c / total, mean_v / total
        both, own = 0.0, 0.0
        for n in range(weight.shape[0]):
            away = colours[n, c] - mean_c
            both += weight[n] * away * (values[n, c] - mean_v)
            own += weight[n] * away * away
        fitted = (both / total + 1e-3) / (own / total + 1e-3)
        gain[c] = min(max(fitted, 0.7), 1.4)
        offset[c] = mean_v - gain[c] * mean_c
    return gain, offset


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def weighed(colours, values, slopes, weight, gain, offset, moves, robust, pulled, pull):
    """What each point's colours say of where it should be: its `moves` [N, 2, P] times a root of
    how sure they are (`pulled`, alike), and where to it is pulled (`pull` [N, 2]). A point whose
    colour is missed by more than `robust` is doubted."""
    count = moves.shape[2]
    for n in range(weight.shape[0]):
        xx, xy, yy, rx, ry = 0.0, 0.0, 0.0, 0.0, 0.0
        for c in range(3):
            missed = values[n, c] - (gain[c] * colours[n, c] + offset[c])
            doubt = 1 + (missed / robust) ** 2
            w = weight[n] / (doubt * doubt)
            gx, gy = slopes[n, c, 0], slopes[n, c, 1]
            xx += w * gx * gx
            xy += w * gx * gy
            yy += w * gy * gy
            rx += w * gx * missed
            ry += w * gy * missed
        pull[n, 0], pull[n, 1] = rx, ry
        first = np.sqrt(xx)
        across = xy / first if first > 0 else 0.0
        second = np.sqrt(max(yy - across * across, 0.0))
        for p in range(count):
            a, b = moves[n, 0, p], moves[n, 1, p]
            pulled[n, 0, p], pulled[n, 1, p] = first * a + across * b, second * b


def sums(colours, values, slopes, weight, gain, offset, moves, robust):
    """The normal equations of P parameters: [P, P] and [P]. A library multiplies the matrices (one
    with itself: half the work); summed point by point this was most of a tracker's time."""
    pulled, pull = np.empty_like(moves), np.empty(moves.shape[:2], moves.dtype)
    weighed(colours, values, slopes, weight, gain, offset, moves, robust, pulled, pull)
    flat, rows = moves.reshape(-1, moves.shape[2]), pulled.reshape(-1, moves.shape[2])
    return (rows.T @ rows).astype(np.float64), (pull.ravel() @ flat).astype(np.float64)


@njit(error_model="numpy", fastmath=_FAST)
def _turn_of(change):
    """Rodrigues' formula for the first three numbers."""
    x, y, z = change[0], change[1], change[2]
    square = x * x + y * y + z * z
    angle = np.sqrt(square)
    a, b = 1 - square / 6, 0.5 - square / 24
    if square >= 1e-8:
        a, b = np.sin(angle) / angle, (1 - np.cos(angle)) / square
    turn = np.empty((3, 3))
    turn[0, 0], turn[0, 1], turn[0, 2] = (
        1 - b * (y * y + z * z),
        b * x * y - a * z,
        b * x * z + a * y,
    )
    turn[1, 0], turn[1, 1], turn[1, 2] = (
        b * x * y + a * z,
        1 - b * (x * x + z * z),
        b * y * z - a * x,
    )
    turn[2, 0], turn[2, 1], turn[2, 2] = (
        b * x * z - a * y,
        b * y * z + a * x,
        1 - b * (x * x + y * y),
    )
    return turn


@njit(cache=True, nogil=True, error_model="numpy", fastmath=_FAST)
def placed(points, modes, change, shift, lens, pixels, moves):
    """Pixels of points bent by weights of modes (the rest of `change`), turned and shifted in the
    camera, and what each parameter does to them: turn about the camera's axes, shift, modes (but
    for the turn, which is small). Without room in `moves` the pixels alone."""
    turn = _turn_of(change)
    fx, fy, cx, cy = lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2]
    for n in range(points.shape[0]):
        x, y, z = points[n, 0], points[n, 1], points[n, 2]
        for k in range(modes.shape[0]):
            x += change[6 + k] * modes[k, n, 0]
            y += change[6 + k] * modes[k, n, 1]
            z += change[6 + k] * modes[k, n, 2]
        tx = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] * z
        ty = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] * z
        tz = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2] * z
        ax, ay, az = tx + shift[0] + change[3], ty + shift[1] + change[4], tz + shift[2] + change[5]
        pixels[n, 0], pixels[n, 1] = fx * ax / az + cx, fy * ay / az + cy
        if moves.shape[2] == 0:
            continue
        ux, uz = fx / az, -fx * ax / (az * az)
        vy, vz = fy / az, -fy * ay / (az * az)
        # a small further turn moves a point by its cross product with it
        moves[n, 0, 0], moves[n, 1, 0] = uz * ty, -vy * tz + vz * ty
        moves[n, 0, 1], moves[n, 1, 1] = ux * tz - uz * tx, -vz * tx
        moves[n, 0, 2], moves[n, 1, 2] = -ux * ty, vy * tx
        moves[n, 0, 3], moves[n, 1, 3] = ux, 0.0
        moves[n, 0, 4], moves[n, 1, 4] = 0.0, vy
        moves[n, 0, 5], moves[n, 1, 5] = uz, vz
        for k in range(modes.shape[0]):
            a, b, c = modes[k, n, 0], modes[k, n, 1], modes[k, n, 2]
            moves[n, 0, 6 + k] = ux * a + uz * c
            moves[n, 1, 6 + k] = vy * b + vz * c
