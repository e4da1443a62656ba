import { describe, it } from 'vitest';
import { exchangeContract } from './contract.ts';
import { nodeExchange } from './node-exchange.ts';

exchangeContract({ describe, it }, 'node:http', nodeExchange);
