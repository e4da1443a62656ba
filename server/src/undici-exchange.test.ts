import { exchangeContract } from 'settle/testing';
import { describe, it } from 'vitest';
import { undiciExchange } from './undici-exchange.ts';

exchangeContract({ describe, it }, 'undici', undiciExchange);
