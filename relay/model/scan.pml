/*
 * A model of internal/logscan: how a log is read whose positions are given before their
 * rows can be seen. Writers take a claim, are given positions, and commit or roll back in
 * any order; two scans share a Scanner. relay.pml takes for granted what is checked here:
 * that Scan returns what is committed, in order, and leaves nothing out.
 *
 * Sets of positions, and of claims, are bits: position p is bit p-1.
 */

#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef POSITIONS
#define POSITIONS 4
#endif
#define SCANS 2

#define UPTO(p)      ((1 << (p)) - 1)
#define ABOVE(p)     (UPTO(POSITIONS) & ~UPTO(p))

byte given   /* the last position that was given */
byte visible /* rows that can be read */
byte claims  /* held */
byte begun, ended /* how many writers have */

/* The Scanner. */
bool turn
byte proven, upTo, asked

byte at[SCANS], received[SCANS]

proctype Writer(byte me) {
	byte rows;
#ifdef CLAIM_AFTER_POSITION
	if
	:: atomic { given < POSITIONS -> given++; rows = 1 << (given - 1) }
	:: skip
	fi;
#endif
	/* Which of them comes first makes no difference. */
	atomic { begun == me -> begun++; claims = claims | (1 << me); printf("writer %d takes its claim\n", me) }
	do
	:: atomic { given < POSITIONS ->
		given++;
		rows = rows | (1 << (given - 1));
		printf("writer %d is given position %d\n", me, given) }
	:: break
	od;
#ifdef CLAIM_ENDS_BEFORE_COMMIT
	claims = claims & ~(1 << me);
#endif
	atomic {
		if
		:: printf("writer %d commits %d\n", me, rows);
			assert((rows & (UPTO(at[0]) | UPTO(at[1]))) == 0); /* NothingSkipped */
			visible = visible | rows
		:: printf("writer %d rolls %d back\n", me, rows)
		fi;
		rows = 0
	}
	atomic { claims = claims & ~(1 << me); ended++; printf("writer %d gives its claim up\n", me) }
}

/* Claims: they are looked at one by one, while transactions go on. */
inline holders(which) {
	w = 0; held = 0;
	do
	:: atomic { w < WRITERS -> held = held | (which & claims & (1 << w)); w++ }
	:: atomic { w == WRITERS -> w = 0; break }
	od
}

proctype Scan(byte me) {
	byte rows, before, newest, held, w, n, p;
	bool closed;

end:
	do
	:: atomic { !turn -> before = proven } /* Proven */
#ifdef CLAIMS_BEFORE_READ
		holders(255);
#endif
endread:
		atomic { visible & ABOVE(at[me]) -> rows = visible & ABOVE(at[me]) } /* Read */
#ifdef PROVEN_AFTER_READ
		atomic { !turn -> before = proven }
#endif
reread:
		/* Prefix */
		atomic { !turn ->
			p = (at[me] > before -> at[me] : before);
			n = at[me];
			newest = 0;
			do
			:: n < POSITIONS ->
				n++;
				if
				:: rows & (1 << (n - 1)) ->
#ifndef GAPS_ARE_PASSED
					if :: n > p + 1 -> break :: else fi;
#endif
					if :: n > p -> p = n :: else fi;
					newest = n
				:: else
				fi
			:: else -> break
			od;
			if :: at[me] <= before && p > proven -> proven = p :: else fi;
			n = 0; p = 0;
			if
			:: newest ->
				received[me] = received[me] | (rows & UPTO(newest));
				at[me] = newest;
				printf("scan %d receives up to %d: %d\n", me, newest, received[me]);
				assert((visible & UPTO(newest) & ~received[me]) == 0) /* NothingSkipped */
			:: else
			fi
		}
		if
		:: newest -> newest = 0; rows = 0; before = 0; goto end
		:: else
		fi;
		/* closeGap: up to the newest row */
		atomic { !turn ->
			turn = true;
			newest = POSITIONS;
			do
			:: !(rows & (1 << (newest - 1))) -> newest--
			:: else -> break
			od
		}
		if
		:: proven >= newest -> closed = true /* ask */
		:: else ->
#ifdef CLAIMS_BEFORE_READ
			skip;
#elif defined(OLD_CLAIMS_FOR_MORE)
			if :: upTo > 0 -> holders(asked) :: else -> holders(255) fi;
#else
			if :: upTo >= newest -> holders(asked) :: else -> holders(255) fi;
#endif
			atomic {
				if :: newest > upTo -> upTo = newest :: else fi;
				asked = held;
				closed = (held == 0);
				if :: closed && upTo > proven -> proven = upTo :: else fi;
				printf("scan %d asks up to %d: claims %d\n", me, upTo, held);
				held = 0
			}
		fi;
		atomic { turn = false; newest = 0;
			if
#ifdef NOT_READ_AGAIN
			:: closed -> closed = false; before = proven; goto reread
#else
			:: closed -> closed = false; rows = 0; before = 0; goto end
#endif
			:: else
			fi }
		/* It waits until there is something to learn. */
endwait:
		atomic { (visible & ABOVE(at[me])) != rows || (asked & claims) != asked || proven > before ->
			rows = 0; before = 0 }
	od
}

#ifdef LIVENESS
bool quiet
#endif

/* When nothing can happen any more, all that was committed was received: what was rolled back blocks nobody. */
proctype Done() {
	timeout ->
		assert(ended == WRITERS && received[0] == visible && received[1] == visible); /* Delivered */
#ifdef LIVENESS
		quiet = true
#endif
}

init {
	byte i;
	atomic {
		do
		:: i < WRITERS -> run Writer(i); i++
		:: else -> break
		od;
		run Scan(0); run Scan(1); run Done()
	}
}

#ifdef LIVENESS
ltl comes { <> quiet } /* with weak fairness: nobody is busy for ever */
#endif
