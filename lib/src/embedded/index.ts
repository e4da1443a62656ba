/** `settle/engine`: a coordinator in this process, and the parts to assemble one differently. */
export { openCoordinator, type EmbeddedCoordinator, type OpenOptions } from './open-coordinator.ts';
export { systemClock, systemIds, systemRandom } from './production-ports.ts';
export * from '../caller/index.ts';
export { createEngine, type Engine, type EngineOptions } from '../engine/engine.ts';
export { engineLimits, type EngineLimits } from '../engine/limits.ts';
export type {
  BranchCall,
  BranchCaller,
  CallReply,
  Clock,
  Ids,
  Observer,
  Random,
  Store,
} from '../engine/ports.ts';
export type { AlarmCode, EngineEvent } from '../observe/events.ts';
