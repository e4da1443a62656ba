import type { Checker } from './checker.ts';
import { atomicity } from './i01-atomicity.ts';
import { decisionBeforeEffect } from './i02-decision-before-effect.ts';
import { oneDecision } from './i03-one-decision.ts';
import { noLostAcknowledgement } from './i04-no-lost-acknowledgement.ts';
import { conservation } from './i05-conservation.ts';
import { oneEffect } from './i06-one-effect.ts';
import { undoAndSuspension } from './i07-undo-and-suspension.ts';
import { terminalStability } from './i08-terminal-stability.ts';
import { legalTransitions } from './i09-legal-transitions.ts';
import { boundedSettle } from './i10-bounded-settle.ts';
import { noResidue } from './i11-no-residue.ts';
import { idempotentSubmit } from './i12-idempotent-submit.ts';
import { sagaOrder } from './i13-saga-order.ts';
import { messageIffCommit } from './i14-message-iff-commit.ts';
import { fencing } from './i16-fencing.ts';
import { bounds } from './i17-bounds.ts';
import { truthfulAnswers } from './i18-truthful-answers.ts';

/**
 * Every invariant that is checked, in the order of the failure model. I15 is about AT, a pattern that does not exist
 * yet; its checker comes with it.
 */
export const checkers: readonly Checker[] = [
  atomicity,
  decisionBeforeEffect,
  oneDecision,
  noLostAcknowledgement,
  conservation,
  oneEffect,
  undoAndSuspension,
  terminalStability,
  legalTransitions,
  boundedSettle,
  noResidue,
  idempotentSubmit,
  sagaOrder,
  messageIffCommit,
  fencing,
  bounds,
  truthfulAnswers,
];
