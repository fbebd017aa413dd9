package journal

// way is what SFM finds from an organization upward, as numbers of nodes.
type way struct {
	her, address, phone      int  // the lowest that has it
	addressAbove, phoneAbove bool // that stands above the organization of the HER-id
	cycle, decided, underway bool // the way never ends; it is known; it is being followed
}

var nowhere = way{her: none, address: none, phone: none}

// climb follows the way of every organization. Each way is followed once, down from where another has been decided, so
// that long chains cost no more than short ones.
func (x *Index) climb() {
	var path []int
	for start := range x.nodes {
		path = path[:0]
		n := start
		for n != none && !x.nodes[n].decided && !x.nodes[n].underway {
			x.nodes[n].underway = true
			path = append(path, n)
			n = x.nodes[n].up
		}
		if n != none && x.nodes[n].underway {
			path = x.round(path, n)
		}
		for i := len(path) - 1; i >= 0; i-- {
			x.decide(path[i])
		}
	}
}

// round decides the ways within a cycle, the end of path from the organization first, and returns the rest of path.
// Going round twice tells everyone what the others have: on the second round whoever is asked knows what lies above.
func (x *Index) round(path []int, first int) []int {
	begin := len(path) - 1
	for path[begin] != first {
		begin--
	}
	cycle := path[begin:]
	for range 2 {
		for i := len(cycle) - 1; i >= 0; i-- {
			x.decide(cycle[i])
			x.nodes[cycle[i]].cycle = true
		}
	}
	return path[:begin]
}

// decide derives an organization's way from that of the one above.
func (x *Index) decide(n int) {
	at := &x.nodes[n]
	above := nowhere
	if at.up != none {
		above = x.nodes[at.up].way
	}
	found := filled(at.HERID)
	at.way = way{her: above.her, address: above.address, phone: above.phone, cycle: above.cycle, decided: true}
	if found {
		at.her = n
	}
	at.addressAbove, at.phoneAbove = above.addressAbove, above.phoneAbove
	if found {
		at.addressAbove, at.phoneAbove = above.address != none, above.phone != none
	}
	if filled(at.Address) {
		at.address, at.addressAbove = n, false
	}
	if filled(at.Phone) {
		at.phone, at.phoneAbove = n, false
	}
}
