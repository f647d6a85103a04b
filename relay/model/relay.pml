/*
 * A model of what relay/doc.go specifies, for one partition: leases, epochs, publishing,
 * settling, held keys, crashes and pauses. Names of states, transitions and invariants
 * are those of relay/doc.go; README.md tells how the model is checked, and which code
 * makes its assumptions true. scan.pml models how a log is read.
 *
 * Sets of messages are bits: message m is bit m-1, and m is its position.
 */

#ifndef MESSAGES
#define MESSAGES 3
#endif
#ifndef BATCH
#define BATCH 2
#endif
#ifndef TROUBLES /* how often a relay dies or is doubtful or drains, a lease ends, an answer of the log is lost */
#define TROUBLES 2
#endif
#ifndef FAILURES /* how many answers of the publisher are not "stored" */
#define FAILURES 2
#endif
#ifndef LATE /* whether settlements may be done late */
#define LATE 0
#endif
#ifndef OPERATIONS /* what an operator does */
#define OPERATIONS 0
#endif

mtype = { Free, Foreign, Owned, Unsure, Draining, Lost } /* of the partition, for a relay */
mtype = { clear, due, flying, stuck } /* of a key, in a relay's memory: see relay/held.go */

#define UPTO(m)      ((1 << (m)) - 1)
#define ALL          UPTO(MESSAGES)
#define KEY(k)       ((k) == 0 -> keyA : ALL & ~keyA)
#define KEYOF(one)   (((one) & keyA) -> keyA : ALL & ~keyA)
#define BEFORE(one)  (KEYOF(one) & ((one) - 1)) /* earlier messages of the key */
#define LOWEST(set)  ((set) & -(set))
#define HELD         (retrying | parked | waiting)

/* The log: whose messages have the key A (the others have B), the partition, and what is held. */
byte keyA
byte position, epoch, owner
bool stands
byte retrying, parked, waiting

/* The destination, and what may yet come there. */
byte arrived, transit

/* A settlement whose transaction is done late, when nobody waits for it any more. */
bool late
byte lateEpoch, lateFrom, latePosition, lateRetrying, lateParked, lateWaiting, lateRelease

/* What nobody in the system knows: used by assertions only. */
byte confirmed, discarded, replayed
byte given    /* the newest epoch */
byte began[2] /* where the successor of a relay began */

byte troubles = TROUBLES, failures = FAILURES, operations = OPERATIONS
#define anew  2 /* not looked at yet */
#define later 1 /* seen, but its key was being published */
byte changed[2] /* what is held, of which a relay knows by polling only */

#define NOBODY 2

/* First arrivals of a key are in commit order. */
inline arrive(one) {
	assert((BEFORE(one) & ~arrived & ~discarded & ~replayed) == 0); /* FirstArrivals */
	arrived = arrived | (one);
	printf("the destination gets %d\n", (one))
}

#define NEWEST(e) ((e) == epoch)
#ifdef SETTLE_WITHOUT_EPOCH
#undef NEWEST
#define NEWEST(e) true
#endif

#ifdef SETTLE_WITHOUT_FROM
#define LEFT(from, to) true
#elif defined(SETTLE_FROM_ZERO_UNCHECKED)
#define LEFT(from, to) ((from) == 0 || position == (from) || (to) > 0 && position == (to))
#else
#define LEFT(from, to) (position == (from) || (to) > 0 && position == (to))
#endif

#ifdef HOLD_REVIVES
#define HOLDABLE(set) (set)
#else
#define HOLDABLE(set) ((set) & (HELD | ~UPTO(position)))
#endif

/* What follows from these directly is checked by what follows from it in mutations. */
#ifdef CONSEQUENCES
#define DIRECTLY(what) skip
#else
#define DIRECTLY(what) assert(what)
#endif

/* Settle, of which is known that it is valid. */
inline write(writer, to, r, p, w, release) {
	DIRECTLY(writer == epoch); /* OneWriter */
	holds = HOLDABLE((r) | (p) | (w));
	retrying = (retrying & ~holds & ~(release)) | ((r) & holds);
	parked = (parked & ~holds & ~(release)) | ((p) & holds);
	waiting = (waiting & ~holds & ~(release)) | ((w) & holds);
	if
	:: (to) > 0 ->
		assert((to) >= position); /* Monotone */
		position = (to)
	:: else
	fi;
	holds = 0;
	stands = true;
	printf("  position %d, retrying %d, parked %d, waiting %d\n", position, retrying, parked, waiting);
	assert((UPTO(position) & ~confirmed & ~HELD & ~discarded) == 0); /* NoGap */
	assert((discarded & HELD) == 0) /* Discarded */
}

/* Messages and settlements that come late, and leases that end. */
proctype World() {
	byte one, holds;
end:
	do
	:: atomic { transit ->
		one = LOWEST(transit);
		do
		:: transit & ~(2 * one - 1) -> one = LOWEST(transit & ~(2 * one - 1))
		:: break
		od;
		transit = transit & ~one;
		printf("late: ");
		arrive(one);
		one = 0 }
	:: atomic { late ->
		printf("late: Settle with epoch %d, from %d to %d\n", lateEpoch, lateFrom, latePosition);
		if
		:: NEWEST(lateEpoch) && LEFT(lateFrom, latePosition) ->
			write(lateEpoch, latePosition, lateRetrying, lateParked, lateWaiting, lateRelease);
			changed[0] = anew; changed[1] = anew
		:: else
		fi;
		late = false;
		lateEpoch = 0; lateFrom = 0; latePosition = 0;
		lateRetrying = 0; lateParked = 0; lateWaiting = 0; lateRelease = 0 }
#ifndef DEAD_LEASES_STAND
	:: atomic { stands && owner == NOBODY -> /* Expire */
		stands = false; printf("Expire\n") }
#endif
	:: atomic { stands && troubles > 0 -> /* Expire: beside its owner */
		troubles--; stands = false; printf("Expire\n") }
	od
}

/* The transitions of flights. */

/* Publisher: sends the upTo message of a flight. A key ends at its first failure. */
inline publish(todo, ok, bad, refused, unavailable) {
	one = LOWEST(todo);
	printf("%d publishes %d\n", me, one);
	todo = todo & ~one;
	if
	:: arrive(one); confirmed = confirmed | one; ok = ok | one
	:: failures > 0 -> failures--;
		if
		:: arrive(one); bad = bad | one         /* the answer is lost */
		:: transit = transit | one; bad = bad | one /* it comes after the timeout */
		:: bad = bad | one
		:: refused = refused | one
		:: unavailable = unavailable | one; todo = 0
		fi;
#ifdef UNKNOWN_IS_STORED
		ok = ok | bad; bad = 0;
#endif
#ifndef PUBLISHER_GOES_ON
		todo = todo & ~KEYOF(one)
#endif
	fi;
	one = 0
}

/* KeyOrder, of what a relay with the newest epoch begins to publish. */
inline ordered(flight) {
	if
	:: lease == epoch ->
		one = flight;
		do
		:: one ->
			k = LOWEST(one);
			assert((BEFORE(k) & ~(flight) & (HELD | ~UPTO(position)) & ~replayed) == 0); /* KeyOrder */
			one = one & ~k
		:: else -> break
		od;
		k = 0
	:: else
	fi;
	assert(state == Owned) /* Unsure */
}

inline startFresh() {
	upTo = at + 1; /* what is committed by then, of what fits */
	do
	:: upTo < MESSAGES && upTo < at + BATCH -> upTo++
	:: break
	od;
	freshAll = UPTO(upTo) & ~UPTO(at);
#ifndef WAITING_OVERTAKES
	if :: phase[0] != clear -> freshAll = freshAll & ~KEY(0) :: else fi;
	if :: phase[1] != clear -> freshAll = freshAll & ~KEY(1) :: else fi;
#endif
	ordered(freshAll);
#ifdef CURSOR_BEFORE_ANSWERS
	if :: lease == epoch -> write(lease, upTo, 0, 0, 0, 0); saved = upTo :: else fi;
#endif
	todo = freshAll;
	printf("%d begins a batch: after %d up to %d, of which %d\n", me, at, upTo, freshAll)
}

/* What becomes of a new batch: judgeFresh of relay/verdict.go. */
inline judgeFresh() {
	settling = true;
	to = upTo;
	m = at + 1;
	do
	:: m <= upTo ->
		one = 1 << (m - 1);
		k = ((one & keyA) -> 0 : 1);
		if
		:: phase[k] != clear -> sWaiting = sWaiting | one; more[k] = true
		:: else ->
			if
#ifdef UNAVAILABLE_PASSES
			:: one & unavailable
#else
			:: one & unavailable -> to = m - 1; break
#endif
			:: one & ok
#ifdef REFUSED_IS_DROPPED
			:: one & refused
#else
			:: one & refused -> sParked = sParked | one; more[k] = false; first[k] = one;
#ifdef PARKED_FREES
				skip
#else
				phase[k] = stuck
#endif
#endif
#ifdef SKIPPED_PASSES
			:: !(one & (ok | bad | refused | unavailable))
#endif
			:: else -> sRetrying = sRetrying | one; phase[k] = due; more[k] = false; first[k] = one
			fi
		fi;
		m++
	:: else -> break
	od;
	if :: to == at -> to = 0; settling = (sRetrying | sParked | sWaiting) != 0 :: else -> at = to fi;
	upTo = 0; freshAll = 0; ok = 0; bad = 0; refused = 0; unavailable = 0; m = 0; one = 0; k = 0
}

/* Held messages of a key, as many as fit; or only the first: collectDue, collectQueue. */
inline startRetry(x) {
	one = LOWEST(HELD & KEY(x));
	if
	:: one == 0 -> phase[x] = clear; more[x] = false; first[x] = 0
	:: one & parked -> phase[x] = stuck; more[x] = true
	:: one & (retrying | waiting) ->
		retryAll = one;
		k = LOWEST(HELD & KEY(x) & ~one);
		if
#ifdef LOWER_IS_ALONE
		:: one & retrying
#else
		:: one & retrying -> if :: one != first[x] -> more[x] = true :: else fi
#endif
		:: BATCH > 1 && (k & waiting) -> retryAll = retryAll | k; more[x] = true
		:: (one & waiting) && !(BATCH > 1 && (k & waiting)) -> more[x] = (k != 0)
		fi;
		one = 0; k = 0;
		phase[x] = flying;
		ordered(retryAll);
#ifdef RELEASE_BEFORE_ANSWERS
		if :: lease == epoch -> write(lease, 0, 0, 0, 0, retryAll) :: else fi;
#endif
		again = retryAll;
		printf("%d tries %d again\n", me, again)
	fi;
	one = 0; k = 0
}

/* What becomes of them: judgeRetried. All are of one key. */
inline judgeRetried() {
	settling = true;
	k = ((retryAll & keyA) -> 0 : 1);
	sRelease = rOk;
	one = LOWEST(retryAll & ~rOk);
	if
	:: one == 0 -> 
#ifdef MORE_IS_FORGOTTEN
		phase[k] = clear
#else
		phase[k] = (more[k] -> due : clear)
#endif
		first[k] = 0
	:: one & rRefused -> sParked = one; phase[k] = stuck; first[k] = one
	:: else -> sRetrying = one; phase[k] = due; first[k] = one
	fi;
	if :: one && (retryAll & ~(2 * one - 1)) -> more[k] = true :: else fi;
	retryAll = 0; rOk = 0; rBad = 0; rRefused = 0; rUnavailable = 0; one = 0; k = 0
}

/* lookAtHeld of relay/flight.go. */
inline look(x) {
	one = LOWEST(HELD & KEY(x));
	if
	:: one == 0 && phase[x] != flying -> phase[x] = clear; more[x] = false; first[x] = 0
	:: one && phase[x] != flying && !(phase[x] == clear && (freshAll & KEY(x))) ->
		phase[x] = ((one & parked) -> stuck : due); more[x] = true
	:: else -> changed[me] = later
	fi;
	one = 0
}

#ifdef UNSURE_PUBLISHES
#define MAY (state == Owned || state == Unsure)
#else
#define MAY (state == Owned)
#endif

inline forget() {
	began[me] = 0;
	state = Free;
#ifdef BEGIN_AT_OWN_POSITION
	own = at;
#endif
	lease = 0; saved = 0; at = 0;
	upTo = 0; freshAll = 0; todo = 0; ok = 0; bad = 0; refused = 0; unavailable = 0;
	retryAll = 0; again = 0; rOk = 0; rBad = 0; rRefused = 0; rUnavailable = 0;
	phase[0] = clear; phase[1] = clear; more[0] = false; more[1] = false; first[0] = 0; first[1] = 0;
	done()
}

inline done() {
	settling = false; to = 0; sRetrying = 0; sParked = 0; sWaiting = 0; sRelease = 0
}

/* What operators do beside a running relay. */
proctype Operator() {
	byte one;
	do
	:: atomic { operations > 0 ->
		operations--;
		one = 1;
		do
		:: one < 1 << (MESSAGES - 1) -> one = one * 2
		:: break
		od;
		printf("operator: %d\n", one);
		if
		:: parked & one ->                                /* Redrive */
			parked = parked & ~one; retrying = retrying | one
		:: HELD & one ->                                  /* Discard */
			retrying = retrying & ~one; parked = parked & ~one; waiting = waiting & ~one;
			discarded = discarded | one
		:: one == LOWEST(HELD & KEYOF(one)) && !(parked & one) -> /* Park */
			retrying = retrying & ~one; waiting = waiting & ~one; parked = parked | one
		:: (one & UPTO(position)) && !(HELD & KEYOF(one)) -> /* Park, of a key that holds nothing */
			parked = parked | one; replayed = replayed | one; discarded = discarded & ~one
		:: (one & UPTO(position)) && !(HELD & one) ->     /* Replay */
			waiting = waiting | one; replayed = replayed | one; discarded = discarded & ~one
		:: else
		fi;
#ifndef NOBODY_LOOKS
		changed[0] = anew; changed[1] = anew;
#endif
		one = 0 }
	:: operations == 0 -> break
	od
}

proctype Relay(byte me) {
	mtype state = Free;
	byte lease, saved, at;                            /* the lease's epoch, and positions */
	byte upTo, freshAll, todo, ok, bad, refused, unavailable; /* the new batch */
	byte retryAll, again, rOk, rBad, rRefused, rUnavailable;  /* held messages that are tried again */
	mtype phase[2] = clear;
	bool more[2];
	byte first[2];                                    /* of each key the message that this relay has held */
	bool settling;
	byte to, sRetrying, sParked, sWaiting, sRelease;
	byte one, k, m, holds, own;

#if defined(HELD_READ_BEFORE_ACQUIRE) || defined(POSITION_READ_BEFORE_ACQUIRE)
begin:
	atomic { look(0); look(1); own = position }
#define AGAIN begin
#else
#define AGAIN end
#endif
end:
	atomic {
		if
		:: !stands && (me == 0 || epoch > 0)      /* Acquire: 0 is who begins */
		:: stands && owner == me                  /* Acquire: the answer was lost before */
		:: stands && owner != me && troubles > 0 -> /* Force */
			state = Foreign; troubles-- /* it was so while it waited */
		fi;
#ifdef ACQUIRE_KEEPS_EPOCH
		if :: epoch == 0 -> epoch++ :: else fi;
#else
		epoch++;
#endif
		DIRECTLY(epoch > given); /* Monotone */
		given = epoch;
		began[me] = 0;
		if :: owner == 1 - me -> began[1 - me] = position :: else fi;
		owner = me;
		stands = true;
		if
		:: skip
		:: troubles > 0 -> troubles--; goto AGAIN /* the answer is lost */
		fi;
		printf("%d: %e -> Owned, epoch %d, position %d\n", me, state, epoch, position);
		lease = epoch; saved = position; state = Owned;
#if defined(BEGIN_AT_OWN_POSITION) || defined(POSITION_READ_BEFORE_ACQUIRE)
		if :: own > 0 -> saved = own :: else fi;
#endif
		at = saved
	}
#if !defined(HELD_NOT_READ) && !defined(HELD_READ_BEFORE_ACQUIRE)
	atomic { look(0); look(1) }
#endif
endserve:
	do
	:: atomic { MAY && !settling && !upTo && at < MESSAGES -> startFresh() }
	:: atomic { upTo && todo -> publish(todo, ok, bad, refused, unavailable) }
	:: atomic { upTo && !todo && !settling -> d_step { judgeFresh() }; goto settle }
	:: atomic { MAY && !settling && !retryAll && phase[0] == due -> startRetry(0) }
	:: atomic { MAY && !settling && !retryAll && phase[1] == due -> startRetry(1) }
	:: atomic { retryAll && again -> publish(again, rOk, rBad, rRefused, rUnavailable) }
	:: atomic { retryAll && !again && !settling -> d_step { judgeRetried() }; goto settle }
	:: atomic { !settling && (changed[me] == anew || changed[me] == later && !upTo && !retryAll) ->
		changed[me] = 0; look(0); look(1) }
	:: atomic { settling || state == Unsure ->
settle:		if
		:: !settling && state != Unsure           /* all is unavailable */
		:: NEWEST(lease) ->                       /* Settle */
#ifdef HOLD_APART
			if
			:: to > 0 -> write(lease, to, 0, 0, 0, sRelease); saved = to; to = 0; sRelease = 0; goto endserve
			:: else
			fi;
#endif
			printf("%d: Settle with epoch %d, from %d to %d\n", me, lease, saved, to);
			assert(LEFT(saved, to)); /* Settle: or it were ErrRestored */
			write(lease, to, sRetrying, sParked, sWaiting, sRelease);
			if
			:: skip
			:: settling && troubles > 0 -> troubles--; goto endserve /* the answer is lost */
			fi;
			saved = (to > 0 -> to : saved);
			done();
			if :: state == Unsure -> state = Owned :: else fi
		:: !NEWEST(lease) ->                      /* Refuse */
			printf("%d: Refuse -> Lost\n", me);
#ifdef REFUSE_IS_TRIED_AGAIN
			goto endserve;
#endif
			assert(began[me] == saved || to > 0 && began[me] == to); /* Repetition */
			state = Lost; goto lost
		:: settling && LATE && troubles > 0 && !late ->   /* it will be done later, and is repeated */
			troubles--; late = true;
			lateEpoch = lease; lateFrom = saved; latePosition = to;
			lateRetrying = sRetrying; lateParked = sParked; lateWaiting = sWaiting; lateRelease = sRelease
		fi }
	:: atomic { state == Owned && troubles > 0 -> troubles--; /* Doubt */
		state = Unsure; printf("%d: Doubt -> Unsure\n", me) }
	:: atomic { state == Owned && troubles > 0 -> troubles--; /* Yield */
		state = Draining; printf("%d: Yield -> Draining\n", me) }
	:: atomic { state == Draining && !upTo && !retryAll && !settling -> /* Release */
		printf("%d: Release\n", me);
		if :: lease == epoch -> stands = false :: else fi;
		forget(); goto AGAIN }
	:: atomic { troubles > 0 -> troubles--; printf("%d dies\n", me);
		if :: owner == me -> owner = NOBODY :: else fi;
		goto lost }
	od;
lost:
	/* What was just being sent arrives later, or not at all. */
	atomic {
		if :: transit = transit | LOWEST(todo) :: todo fi;
		if :: transit = transit | LOWEST(again) :: again fi;
		forget(); goto AGAIN
	}
}

#define HEAD(k) LOWEST(HELD & KEY(k))
#define SETTLED (position == MESSAGES && (HEAD(0) & ~parked) == 0 && (HEAD(1) & ~parked) == 0)

#ifdef LIVENESS
bool quiet
#endif

/* When nothing can happen any more, every message was delivered, or is parked, or waits behind one that is. */
proctype Done() {
	timeout ->
		assert(SETTLED); /* Delivered */
#ifdef LIVENESS
		quiet = true
#endif
}

init {
	atomic {
		owner = NOBODY;
		keyA = 1;
		if :: keyA = keyA | 2 :: skip fi;
		if :: keyA = keyA | 4 :: skip fi;
#if MESSAGES > 3
		if :: keyA = keyA | 8 :: skip fi;
#endif
		run World(); run Relay(0); run Relay(1); run Done();
#if OPERATIONS > 0
		run Operator()
#endif
	}
}

#ifdef LIVENESS
ltl comes { <> quiet } /* with weak fairness: nobody is busy for ever */
#endif
