/** Plan and state as the text a store keeps, and back. What cannot be read is left untouched (D8). */
import type { HistoryEntry, Plan, State } from './patterns.ts';
import { patterns, statusesOf } from './patterns.ts';
import { messageOf } from '../util/errors.ts';
import { isJsonObject, type JsonObject } from '../util/json.ts';

/** Written into every record; a reader refuses a newer one. */
export const codecVersion = 1;

export interface Progress {
  readonly state: State;
  readonly history: readonly HistoryEntry[];
}

export type Decoded =
  | { readonly kind: 'readable'; readonly plan: Plan; readonly progress: Progress }
  | { readonly kind: 'unreadable'; readonly reason: string };

export function encodePlan(plan: Plan): string {
  return JSON.stringify(plan);
}

export function encodeProgress(progress: Progress): string {
  return `{"v":${codecVersion},"state":${JSON.stringify(progress.state)},"history":${JSON.stringify(progress.history)}}`;
}

export function decode(planText: string, progressText: string): Decoded {
  let plan: unknown;
  let progress: unknown;
  try {
    plan = JSON.parse(planText);
    progress = JSON.parse(progressText);
  } catch (error) {
    return { kind: 'unreadable', reason: `not JSON: ${messageOf(error)}` };
  }
  if (!isPlan(plan)) return { kind: 'unreadable', reason: 'the pattern is not known to this version' };
  if (!isJsonObject(progress) || progress['v'] !== codecVersion) {
    return { kind: 'unreadable', reason: 'written by another version' };
  }
  if (!isProgress(plan, progress)) {
    return { kind: 'unreadable', reason: 'the state is not known to this version' };
  }
  const { state, history } = progress;
  return { kind: 'readable', plan, progress: { state, history } };
}

// Only our own writer produces these texts, under a checksummed store: the version and the discriminators are what
// can differ between releases, so they are what is checked.
function isPlan(value: unknown): value is Plan {
  return isJsonObject(value) && patterns.some((pattern) => pattern === value['pattern']);
}

function isProgress(plan: Plan, value: JsonObject): value is JsonObject & Progress {
  const { state, history } = value;
  if (!isJsonObject(state) || !Array.isArray(history)) return false;
  return statusesOf[plan.pattern].some((status) => status === state['kind']);
}
