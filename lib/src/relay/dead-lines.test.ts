import { expect, it } from 'vitest';
import { DeadLines } from './dead-lines.ts';
import { Lane } from './lane.ts';

const lane = () => new Lane({ lane: 1, token: 1n }, false, 0);

it('a line waits until a look shows that its dead letter is gone', () => {
  const lines = new DeadLines();
  expect(lines.look()(new Set(['a']))).toBe(false);
  expect(lines.has('a')).toBe(true);
  expect(lines.look()(new Set())).toBe(true);
  expect(lines.isEmpty).toBe(true);
});

it('a look that began before a dead letter was written down frees nobody', () => {
  const lines = new DeadLines();
  lines.givesUp('a', lane());
  const early = lines.look();
  lines.isWritten('a');
  expect(early(new Set())).toBe(false);
  expect(lines.has('a')).toBe(true);
  expect(lines.look()(new Set())).toBe(true);
});

it('what an older look has found is not put above what a newer one has', () => {
  const lines = new DeadLines();
  const older = lines.look();
  lines.look()(new Set(['a']));
  expect(older(new Set())).toBe(false);
  expect(lines.has('a')).toBe(true);
});

it('who waited for what was given up in a lane that has left is freed by the next look', () => {
  const lines = new DeadLines();
  const left = lane();
  lines.givesUp('a', left);
  lines.leave(left);
  expect(lines.look()(new Set())).toBe(true);
  expect(lines.look()(new Set())).toBe(false);
});
