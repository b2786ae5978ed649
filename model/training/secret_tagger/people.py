"""Short lists of given and family names of many cultures; knows no values.

No list is of real people: every pair is drawn. HELD_OUT and VALIDATION serve measuring alone.
"""

from __future__ import annotations

_GIVEN = """
James Mary Robert Linda Michael Susan David Karen William Nancy Richard Lisa Thomas Sarah
Charles Emily Daniel Anna Matthew Laura Andrew Rachel Joshua Megan Kevin Amy Brian Julia George
Helen Peter Alice Frank Ruth Henry Grace Jack Emma Oliver Sophie Harry Chloe Liam Nora Sean
Aoife Ewan Isla Hans Greta Klaus Ingrid Jürgen Heike Stefan Petra Lukas Lena Jan Katrin Sven
Birgit Pierre Marie Jean Claire Louis Camille Étienne Élodie François Hélène Luc Amélie Giulia
Marco Luca Chiara Paolo Francesca Matteo Elena Carlos María José Lucía Juan Sofía Miguel Carmen
Javier Pilar Diego Inés João Ana Pedro Beatriz Tiago Mariana Rafael Catarina Lars Astrid Erik
Freja Anders Sigrid Bjørn Maja Mikko Aino Jukka Päivi Piotr Agnieszka Tomasz Katarzyna Wojciech
Małgorzata Jiří Jana Tomáš Petra László Zsófia István Eszter Ivan Olga Dmitry Natalia Sergei
Irina Alexei Tatiana Oleksandr Oksana Andrei Ioana Nikos Eleni Giorgos Maria Mehmet Ayşe Emre
Elif Ahmed Fatima Mohamed Layla Omar Yasmin Hassan Amina Ali Zahra Reza Maryam David Noa Yosef
Tamar Raj Priya Amit Anjali Vikram Deepa Sanjay Kavita Arjun Meera Wei Li Ming Xiu Jun Mei Hao
Yan Hiroshi Yuki Takashi Sakura Kenji Aiko Satoshi Haruka Min-jun Ji-woo Seo-yeon Hyun Nguyen
Linh Minh Thao Budi Siti Agus Dewi Somchai Malee Kwame Ama Chinedu Ngozi Tunde Amara Thabo
Lerato Juma Wanjiru Abebe Makena Tane Aroha Kai Leilani
"""
# ruff: noqa: RUF001 - letters of every culture are meant
_FAMILY = """
Smith Johnson Williams Brown Jones Miller Davis Wilson Anderson Taylor Moore Jackson Martin
Thompson White Clark Lewis Walker Hall Young King Wright Hill Green Baker Adams Nelson Carter
Mitchell Turner Phillips Campbell Parker Evans Edwards Collins Stewart Morris Murphy Cook Rogers
Cooper Reed Bailey Bell Kelly Ward Watson Brooks Bennett Gray Hughes Price O'Brien O'Connor
MacDonald McCarthy Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann
Koch Bauer Richter Klein Wolf Schröder Neumann Zimmermann Dubois Durand Leroy Moreau Laurent
Simon Michel Lefèvre Garnier Rossi Russo Ferrari Esposito Bianchi Romano Colombo Ricci García
Martínez López González Rodríguez Sánchez Pérez Gómez Díaz Álvarez Silva Santos Oliveira Souza
Costa Pereira Almeida Johansson Nilsson Larsson Hansen Olsen Pedersen Jensen Nielsen Korhonen
Virtanen Kowalski Nowak Wiśniewski Wójcik Novák Svoboda Dvořák Nagy Kovács Szabó Ivanov Petrov
Sokolov Popov Kuznetsov Shevchenko Kovalenko Popescu Ionescu Papadopoulos Nikolaidis Yılmaz Kaya
Demir Haddad Khalil Mansour Nasser Hosseini Ahmadi Cohen Levi Mizrahi Sharma Patel Singh Gupta
Kumar Iyer Reddy Banerjee Chatterjee Wang Zhang Chen Liu Yang Huang Zhao Wu Tanaka Suzuki Sato
Takahashi Yamamoto Watanabe Kim Park Choi Jung Tran Pham Hoang Santoso Wijaya Saetang Mensah
Owusu Okafor Adeyemi Nkosi Dlamini Mwangi Otieno Tesfaye Ngata Kahale van_der_Berg de_Vries
van_Dijk von_Braun de_la_Cruz di_Marco
"""
_HELD_OUT_GIVEN = """
Gareth Bronwen Fergus Niamh Dieter Annelise Gaston Solène Enzo Ludovica Gonzalo Rocío Afonso
Leonor Torbjørn Gunnhild Veikko Zbigniew Bożena Radek Zdeňka Ferenc Borys Lyudmyla Vasile
Stavros Despina Cem Zeynep Tariq Samira Farhad Shirin Eitan Rohan Lakshmi Feng Xiaoling Daisuke
Naoko Dong-hyun Quang Wayan Kofi Abena Sipho Zanele Baraka Mihaela Clara Felix Hugo Stella
Victor Ursula
"""
_HELD_OUT_FAMILY = """
Pemberton Ashworth Fitzgerald Gallagher Steinmetz Vogel Kranz Beaumont Chevalier Fontaine
Moretti Galli Navarro Iglesias Figueiredo Teixeira Lindqvist Haugen Mäkinen Zieliński
Lewandowska Procházka Horváth Bondarenko Volkov Dumitrescu Georgiou Özdemir Şahin Rahmani Farouk
Friedman Krishnamurthy Desai Zhou Sun Nakamura Kobayashi Lim Nguyen_Van Setiawan Boateng Eze
Ndlovu Kamau Alemu ten_Broek McAllister Harrington Whitfield Sandoval
"""

_VALIDATION_GIVEN = """
Rupert Imogen Caitríona Declan Wolfgang Liesel Aurélien Océane Fabrizio Ornella Álvaro Nieves
Vasco Matilde Håkon Solveig Tuomas Grzegorz Jadwiga Bohumil Květa Gyula Mykola Halyna Bogdan
Kostas Evangelia Burak Defne Khaled Noura Behrouz Nasrin Yael Siddharth Padma Jian Yuxin Ryota
Chihiro Sang-min Duc Ketut Kwabena Efua Mandla Nomvula Zuberi Silvia Oscar
"""
_VALIDATION_FAMILY = """
Wetherby Thornton Kavanagh Brennan Altmann Drescher Hübner Delacroix Girard Marchetti Ferraro
Ortega Cisneros Carvalho Nogueira Bergström Aasen Lehtonen Szymański Kaczmarek Beneš Fekete
Tkachenko Orlov Stanciu Alexiou Aydın Koç Sharif Khoury Abramov Mukherjee Deshpande Guo Luo
Fujimoto Hasegawa Jeong Huynh Gunawan Asante Okonkwo Mthembu Njoroge Bekele ter_Horst MacLeod
Blackwood Castellanos O'Malley
"""

GIVEN, FAMILY = _GIVEN.split(), [name.replace("_", " ") for name in _FAMILY.split()]
HELD_OUT_GIVEN = _HELD_OUT_GIVEN.split()
HELD_OUT_FAMILY = [name.replace("_", " ") for name in _HELD_OUT_FAMILY.split()]
VALIDATION_GIVEN = _VALIDATION_GIVEN.split()
VALIDATION_FAMILY = [name.replace("_", " ") for name in _VALIDATION_FAMILY.split()]
