import jsQR from 'jsqr';
import type { VNode } from 'preact';
import { expect, it } from 'vitest';
import { Qr } from '../../src/views/Qr';

const PIXELS = 4;

/** What the component draws, as a camera sees it: its rectangles as pixels. */
function drawn(text: string): { pixels: Uint8ClampedArray; side: number } {
  const svg = Qr({ text, label: 'QR code' }) as VNode<{
    viewBox: string;
    children: VNode<{ d?: string; fill: string }>[];
  }>;
  const [, , width = '0'] = svg.props.viewBox.split(' ');
  const [ground, code] = svg.props.children;
  expect([ground?.props.fill, code?.props.fill]).toEqual(['#fff', '#000']);
  const side = Number(width) * PIXELS;
  const pixels = new Uint8ClampedArray(side * side * 4).fill(255);
  for (const [, x, y] of (code?.props.d ?? '').matchAll(/M(\d+) (\d+)h1v1h-1z/g)) {
    for (let row = Number(y) * PIXELS; row < (Number(y) + 1) * PIXELS; row++) {
      const from = (row * side + Number(x) * PIXELS) * 4;
      for (let at = from; at < from + PIXELS * 4; at += 4) pixels.fill(0, at, at + 3);
    }
  }
  return { pixels, side };
}

it.each([
  'solana:https%3A%2F%2Fapi.your-domain.org%2Fapi%2Fpay%2FmDkq0m5v3p5o9c1d7h2wPg',
  `solana:${encodeURIComponent(`https://a-rather-long-name-of-a-host.your-domain.org:8443/shop/api/pay/${'x'.repeat(22)}`)}`,
])('another program reads what was drawn: %s', (text) => {
  const { pixels, side } = drawn(text);
  expect(jsQR(pixels, side, side)?.data).toBe(text);
});
